"""an action that never ends is closed as interrupted

The guard of AuditLog takes this as the end of an action that is `requested`; open actions have an index.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BEFORE, AFTER = "('done', 'refused', 'failed')", "('done', 'refused', 'failed', 'interrupted')"
_SQLITE_GUARD = "select sql from sqlite_master where type = 'trigger' and name = 'audit_log_update'"
_POSTGRESQL_GUARD = "select pg_get_functiondef('audit_log_guard()'::regprocedure)"


def upgrade() -> None:
    op.create_table(
        "audit_action_beat",
        sa.Column("entry_id", BIG, autoincrement=False, nullable=False),
        sa.Column("beat", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("entry_id", name=op.f("pk_audit_action_beat")),
    )
    where = sa.text("outcome = 'requested'")
    op.create_index("ix_audit_log_requested", "audit_log", ["id"], sqlite_where=where, postgresql_where=where)
    _change_guard(BEFORE, AFTER)


def downgrade() -> None:
    _change_guard(AFTER, BEFORE)
    op.drop_index("ix_audit_log_requested", "audit_log")
    op.drop_table("audit_action_beat")


def _change_guard(ends: str, wanted: str) -> None:
    """Put the guard there anew, with other ends that an action may have."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    guard = op.get_bind().exec_driver_sql(_SQLITE_GUARD if is_sqlite else _POSTGRESQL_GUARD).scalar() or ""
    if ends not in guard:
        raise RuntimeError("audit_log has no guard, or another one than the migrations make: put it back first")
    if is_sqlite:
        op.execute("drop trigger audit_log_update")
    op.get_bind().exec_driver_sql(guard.replace(ends, wanted))
