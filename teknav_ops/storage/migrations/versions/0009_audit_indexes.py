"""indexes of AuditLog: what operators ask, at no cost to the entries of ordinary jobs"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_PARTIAL = {
    "ix_audit_log_notable": (
        ["at"],
        "action <> 'job.enqueued' AND action <> 'job.completed' AND action <> 'job.started'",
    ),
    "ix_audit_log_enqueued_trace_id": (["trace_id"], "action = 'job.enqueued'"),
    "ix_audit_log_fingerprint": (["fingerprint", "at"], "fingerprint IS NOT NULL"),
}


def upgrade() -> None:
    op.drop_index("ix_audit_log_action_at", "audit_log")
    for name, (columns, where) in _PARTIAL.items():
        op.create_index(name, "audit_log", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    for name in _PARTIAL:
        op.drop_index(name, "audit_log")
    op.create_index("ix_audit_log_action_at", "audit_log", ["action", "at"])
