"""what AI runs cost and wrote, and what is shown to search engines"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ai_run",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("delivery", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("task", sa.String(length=40), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=True),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("call_count", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("reserved_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("reserved_tokens", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Double(), nullable=True),
        sa.Column("error_type", sa.String(length=200), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.String(length=32), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_run")),
        sa.UniqueConstraint("job_id", "delivery", name=op.f("uq_ai_run_job_id_delivery")),
    )
    op.create_index("ix_ai_run_article_id", "ai_run", ["article_id"])
    op.create_index("ix_ai_run_started_at", "ai_run", ["started_at"])

    op.create_table(
        "article_quality_report",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("article_version", sa.Integer(), nullable=False),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("measures", sa.JSON(), nullable=False),
        sa.Column("findings", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_article_quality_report")),
        sa.UniqueConstraint("job_id", name=op.f("uq_article_quality_report_job_id")),
    )
    op.create_index("ix_article_quality_report_article_id", "article_quality_report", ["article_id"])

    op.create_table(
        "ai_draft",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=True),
        sa.Column("article_version", sa.Integer(), nullable=True),
        sa.Column("language", sa.String(length=2), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["ai_run.id"], name=op.f("fk_ai_draft_run_id_ai_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_draft")),
        sa.UniqueConstraint("job_id", name=op.f("uq_ai_draft_job_id")),
    )
    op.create_index("ix_ai_draft_article_id", "ai_draft", ["article_id"])

    op.create_table(
        "ai_event_log",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("model", sa.String(length=120), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_micro_usd", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.Double(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["ai_run.id"], name=op.f("fk_ai_event_log_run_id_ai_run"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_event_log")),
    )
    op.create_index("ix_ai_event_log_run_id", "ai_event_log", ["run_id"])

    op.create_table(
        "ai_report",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("article_version", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("criteria", sa.JSON(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["ai_run.id"], name=op.f("fk_ai_report_run_id_ai_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_report")),
        sa.UniqueConstraint("job_id", name=op.f("uq_ai_report_job_id")),
    )
    op.create_index("ix_ai_report_article_id", "ai_report", ["article_id"])

    op.create_table(
        "article_version",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("job_id", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("article_id", sa.Integer(), nullable=False),
        sa.Column("based_on_version", sa.Integer(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("title", sa.String(length=300), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("provider", sa.String(length=60), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["ai_run.id"], name=op.f("fk_article_version_run_id_ai_run")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_article_version")),
        sa.UniqueConstraint("job_id", name=op.f("uq_article_version_job_id")),
    )
    op.create_index("ix_article_version_article_id", "article_version", ["article_id"])
    op.add_column("article", sa.Column("seo_title", sa.String(length=200), nullable=True))
    op.add_column("article", sa.Column("meta_description", sa.String(length=400), nullable=True))
    op.add_column("article", sa.Column("keywords", sa.JSON(), nullable=True))
    op.add_column("article", sa.Column("review_status", sa.String(length=20), nullable=True))
    op.add_column("article", sa.Column("ai_score", sa.Double(), nullable=True))


def downgrade() -> None:
    for column in ("ai_score", "review_status", "keywords", "meta_description", "seo_title"):
        op.drop_column("article", column)
    for table in ("article_version", "ai_report", "ai_event_log", "ai_draft", "article_quality_report", "ai_run"):
        op.drop_table(table)
