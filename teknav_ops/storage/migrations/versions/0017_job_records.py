"""records of jobs come to say how their jobs ended

How far AuditLog has been followed, and indexes of the records that have not ended.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UNFINISHED = {
    "email_queue": "status IN ('queued', 'sending', 'delayed')",
    "otp_log": "status IN ('queued', 'sending', 'delayed')",
    "ai_run": "status = 'running'",
}


def upgrade() -> None:
    op.create_table(
        "audit_position",
        sa.Column("reader", sa.String(40), nullable=False),
        sa.Column("last_id", BIG, nullable=False),
        sa.PrimaryKeyConstraint("reader", name=op.f("pk_audit_position")),
    )
    for table, words in UNFINISHED.items():
        where = sa.text(words)
        op.create_index(f"ix_{table}_unfinished", table, ["id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    for table in UNFINISHED:
        op.drop_index(f"ix_{table}_unfinished", table)
    op.drop_table("audit_position")
