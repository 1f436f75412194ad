"""what readers do, and what it adds up to per day"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "analytics_day",
        sa.Column("time_zone", sa.String(length=60), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.PrimaryKeyConstraint("time_zone", "starts_at", name=op.f("pk_analytics_day")),
    )
    op.create_table(
        "analytics_dirty_key",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=True),
        sa.Column("query_key", sa.String(length=300), nullable=True),
        sa.Column("user_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_dirty_key")),
    )
    op.create_index("ix_analytics_dirty_key_kind", "analytics_dirty_key", ["kind", "id"])

    op.create_table(
        "analytics_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("visitor_id", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=True),
        sa.Column("article_id", sa.Integer(), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=True),
        sa.Column("query", sa.String(length=300), nullable=True),
        sa.Column("result_count", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("day", sa.Date(), nullable=True),
        sa.Column("query_key", sa.String(length=300), nullable=True),
        sa.Column("problem", sa.String(length=60), nullable=True),
        sa.Column("sorted_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_event")),
        sa.UniqueConstraint("event_id", name=op.f("uq_analytics_event_event_id")),
    )
    op.create_index("ix_analytics_event_day_article_id", "analytics_event", ["day", "article_id"])
    op.create_index("ix_analytics_event_day_query_key", "analytics_event", ["day", "query_key"])
    op.create_index("ix_analytics_event_day_user_id", "analytics_event", ["day", "user_id"])
    op.create_index(
        "ix_analytics_event_waiting",
        "analytics_event",
        ["id"],
        postgresql_where=sa.text("sorted_at is null"),
        sqlite_where=sa.text("sorted_at is null"),
    )

    op.create_table(
        "analytics_query_form",
        sa.Column("query", sa.String(length=300), nullable=False),
        sa.Column("query_key", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("query", name=op.f("pk_analytics_query_form")),
    )
    op.create_table(
        "analytics_rejected_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("rejected_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_analytics_rejected_event")),
        sa.UniqueConstraint("job_id", "position", name=op.f("uq_analytics_rejected_event_job_id_position")),
    )
    op.create_table(
        "article_stats_daily",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("view_count", sa.Integer(), nullable=False),
        sa.Column("unique_visitor_count", sa.Integer(), nullable=False),
        sa.Column("read_count", sa.Integer(), nullable=False),
        sa.Column("read_seconds", sa.Double(), nullable=False),
        sa.Column("share_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "article_id", name=op.f("pk_article_stats_daily")),
    )
    op.create_table(
        "search_query_stats_daily",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("query_key", sa.String(length=300), nullable=False),
        sa.Column("query", sa.String(length=300), nullable=False),
        sa.Column("search_count", sa.Integer(), nullable=False),
        sa.Column("unique_searcher_count", sa.Integer(), nullable=False),
        sa.Column("zero_result_count", sa.Integer(), nullable=False),
        sa.Column("click_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "query_key", name=op.f("pk_search_query_stats_daily")),
    )
    op.create_table(
        "user_engagement_daily",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("user_id", sa.String(length=64), nullable=False),
        sa.Column("session_count", sa.Integer(), nullable=False),
        sa.Column("view_count", sa.Integer(), nullable=False),
        sa.Column("article_count", sa.Integer(), nullable=False),
        sa.Column("read_seconds", sa.Double(), nullable=False),
        sa.Column("search_count", sa.Integer(), nullable=False),
        sa.Column("share_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "user_id", name=op.f("pk_user_engagement_daily")),
    )


def downgrade() -> None:
    for table in (
        "user_engagement_daily",
        "search_query_stats_daily",
        "article_stats_daily",
        "analytics_rejected_event",
        "analytics_query_form",
        "analytics_event",
        "analytics_dirty_key",
        "analytics_day",
    ):
        op.drop_table(table)
