"""alerts, their deliveries, silences, and hours of queues"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "alert",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("rule", sa.String(length=60), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("severity", sa.String(length=10), nullable=False),
        sa.Column("queue", sa.String(length=100), nullable=False),
        sa.Column("since_at", _MOMENT, nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=False),
        sa.Column("resolved_at", _MOMENT, nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("unit", sa.String(length=10), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("resolution", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert")),
    )
    is_open = sa.text("resolved_at is null")
    op.create_index(
        "uq_alert_open", "alert", ["rule", "queue"], unique=True, postgresql_where=is_open, sqlite_where=is_open
    )
    op.create_index("ix_alert_opened_at", "alert", ["opened_at"])

    op.create_table(
        "alert_delivery",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("message_id", sa.String(length=60), nullable=False),
        sa.Column("channel", sa.String(length=330), nullable=False),
        sa.Column("event", sa.String(length=10), nullable=False),
        sa.Column("rule", sa.String(length=60), nullable=False),
        sa.Column("notice", sa.JSON(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", _MOMENT, nullable=False),
        sa.Column("sent_at", _MOMENT, nullable=True),
        sa.Column("given_up_at", _MOMENT, nullable=True),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_delivery")),
        sa.UniqueConstraint("message_id", "channel", name=op.f("uq_alert_delivery_message_id_channel")),
    )
    is_pending = sa.text("sent_at is null and given_up_at is null")
    op.create_index(
        "ix_alert_delivery_pending", "alert_delivery", ["next_attempt_at"],
        postgresql_where=is_pending, sqlite_where=is_pending,
    )  # fmt: skip
    op.create_index("ix_alert_delivery_created_at", "alert_delivery", ["created_at"])

    op.create_table(
        "alert_silence",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("rule", sa.String(length=60), nullable=False),
        sa.Column("queue", sa.String(length=100), nullable=False),
        sa.Column("until", _MOMENT, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_silence")),
    )
    op.create_index("ix_alert_silence_until", "alert_silence", ["until"])

    op.create_table(
        "queue_hour",
        sa.Column("queue", sa.String(length=100), nullable=False),
        sa.Column("hour_at", _MOMENT, nullable=False),
        sa.Column("finished_count", sa.Integer(), nullable=False),
        sa.Column("failed_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("queue", "hour_at", name=op.f("pk_queue_hour")),
    )


def downgrade() -> None:
    for table in ("queue_hour", "alert_silence", "alert_delivery", "alert"):
        op.drop_table(table)
