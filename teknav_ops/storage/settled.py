"""Up to which id a table's rows are settled: committed or never to come. The watermark may go so far and no further.

SQLite lets one transaction write at a time, so ids become visible in their order. On PostgreSQL a transaction takes
its ids early and may commit late: a row with a small id can appear after one with a larger id. Every transaction
that inserts holds a RowExclusiveLock on the table from before it takes an id until it ends. So: read the sequence,
list who holds such a lock, and wait until those have ended. Whoever comes later gets larger ids. Nobody is blocked.
(It asks for a sequence that caches no ids per session, as ours does.)
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import Table, func, select, text
from sqlalchemy.orm import Session

from teknav_ops.storage.database import Database

_POLL_SECONDS: Final = 0.02
_HOLDERS: Final = text("""
    select virtualtransaction from pg_locks
    where locktype = 'relation' and granted and mode = 'RowExclusiveLock'
      and database = (select oid from pg_database where datname = current_database())
      and relation = cast(:name as regclass)
""")
_SEQUENCE: Final = text("""
    select last_value from pg_sequences
    where format('%I.%I', schemaname, sequencename)::regclass
        = cast(pg_get_serial_sequence(:name, 'id') as regclass)
""")


def settled_id(database: Database, table: Table, *, wait_seconds: float) -> int | None:
    """The largest id up to which everything is settled; 0 without rows, None when a transaction outlasts the wait."""
    with database.reading() as session:
        if database.is_sqlite:
            return session.scalar(select(func.max(table.c.id))) or 0
        last = int(session.execute(_SEQUENCE, {"name": table.name}).scalar() or 0)
        return last if _have_ended(session, table.name, wait_seconds) else None


def _have_ended(session: Session, name: str, wait_seconds: float) -> bool:
    deadline = time.monotonic() + wait_seconds
    waited_for = _holders(session, name)
    while waited_for:
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
        waited_for &= _holders(session, name)
    return True


def _holders(session: Session, name: str) -> set[str]:
    # Locks and sequences are what they are now, also inside a transaction.
    return set(session.execute(_HOLDERS, {"name": name}).scalars())
