"""AuditLog without its guard: what someone can do who may change the schema."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from sqlalchemy import text

from teknav_ops.storage.database import Database

_TRIGGERS = text("select name, sql from sqlite_master where type = 'trigger' and name like 'audit%'")
_TABLES = ("audit_log", "audit_seal")


def remove_guard(database: Database) -> list[str]:
    """Take the triggers away. Answers the statements that put them back."""
    with database.session() as session:
        if not database.is_sqlite:
            for table in _TABLES:
                session.execute(text(f"alter table {table} disable trigger user"))
            return [f"alter table {table} enable trigger user" for table in _TABLES]
        triggers = session.execute(_TRIGGERS).all()
        for name, _ in triggers:
            session.execute(text(f"drop trigger {name}"))
        return [statement for _, statement in triggers]


@contextlib.contextmanager
def without_guard(database: Database) -> Iterator[None]:
    """The triggers are away in the block."""
    statements = remove_guard(database)
    yield
    with database.session() as session:
        for statement in statements:
            session.connection().exec_driver_sql(statement)
