"""AuditLog is append-only, and sealed by a chain

Of a row only the outcome and the detail of an action that is still `requested` may change, once, when it ends. Rows
and links of the chain are deleted only up to what its newest checkpoint names. Who may change the schema can take the
triggers away; the chain is what tells it then.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
PRUNED = ("pruned_to_id", "pruned_to_number")

FIXED = (
    "id", "at", "action", "actor", "queue", "stream_id", "job_id", "job_name", "attempt", "delivery", "duration_ms",
    "waited_ms", "error_type", "fingerprint", "trace_id",
)  # fmt: skip
REFUSED = {
    "audit_log": "audit_log is append-only: rows are neither changed nor deleted",
    "audit_seal": "audit_seal is append-only: links are neither changed nor deleted",
}
_PRUNED_ROW = "old.id <= (select max(pruned_to_id) from audit_seal where pruned_to_id is not null)"
_PRUNED_LINK = "old.number <= (select max(pruned_to_number) from audit_seal where pruned_to_number is not null)"


def upgrade() -> None:
    op.create_table(
        "audit_seal",
        sa.Column("number", BIG, autoincrement=False, nullable=False),
        sa.Column("last_id", BIG, nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(length=64), nullable=False),
        sa.Column("facts", sa.Text(), nullable=False),
        sa.Column("newest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pruned_to_id", BIG, nullable=True),
        sa.Column("pruned_to_number", BIG, nullable=True),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("key_id", sa.String(length=16), nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("ids", sa.LargeBinary(), nullable=False),
        sa.Column("digests", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_seal")),
    )
    for column in PRUNED:
        where = sa.text(f"{column} IS NOT NULL")
        op.create_index(f"ix_audit_seal_{column}", "audit_seal", [column], sqlite_where=where, postgresql_where=where)
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in (
            "audit_log_update",
            "audit_log_delete",
            "audit_log_replace",
            "audit_seal_update",
            "audit_seal_delete",
        ):
            op.execute(f"drop trigger {name}")
    else:
        for table in REFUSED:
            op.execute(f"drop trigger {table}_guard on {table}")
            op.execute(f"drop trigger {table}_truncate on {table}")
            op.execute(f"drop function {table}_guard()")
    op.drop_table("audit_seal")


def _settles(same: str) -> str:
    fixed = " and ".join(f"new.{name} {same} old.{name}" for name in FIXED)
    return f"old.outcome = 'requested' and new.outcome in ('done', 'refused', 'failed') and {fixed}"


def _sqlite_trigger(name: str, event: str, table: str, when: str) -> str:
    return f"""
        create trigger {name} before {event} on {table} when {when}
        begin select raise(abort, '{REFUSED[table]}'); end
    """


_SQLITE = (
    _sqlite_trigger("audit_log_update", "update", "audit_log", f"not coalesce({_settles('is')}, 0)"),
    _sqlite_trigger("audit_log_delete", "delete", "audit_log", f"not coalesce({_PRUNED_ROW}, 0)"),
    # INSERT OR REPLACE deletes without asking the trigger above.
    _sqlite_trigger("audit_log_replace", "insert", "audit_log", "exists (select 1 from audit_log where id = new.id)"),
    _sqlite_trigger("audit_seal_update", "update", "audit_seal", "1"),
    _sqlite_trigger("audit_seal_delete", "delete", "audit_seal", f"not coalesce({_PRUNED_LINK}, 0)"),
)


def _guard(table: str, settles: str, pruned: str) -> tuple[str, ...]:
    function = f"""
        create function {table}_guard() returns trigger language plpgsql as $guard$
        begin
            if tg_op = 'UPDATE' then
                if {settles} then return new; end if;
            elsif tg_op = 'DELETE' then
                if {pruned} then return old; end if;
            end if;
            raise exception '{REFUSED[table]}' using errcode = 'insufficient_privilege';
        end $guard$
    """
    row = f"""
        create trigger {table}_guard before update or delete on {table}
        for each row execute function {table}_guard()
    """
    whole = f"""
        create trigger {table}_truncate before truncate on {table}
        for each statement execute function {table}_guard()
    """
    return function, row, whole


_POSTGRESQL = (
    *_guard("audit_log", _settles("is not distinct from"), _PRUNED_ROW),
    *_guard("audit_seal", "false", _PRUNED_LINK),
)
