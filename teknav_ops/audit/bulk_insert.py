"""Rows of AuditLog, many at a time, through the driver: each database's fastest way, in the session's transaction."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from operator import itemgetter
from typing import Any, Final

from sqlalchemy.orm import Session

from teknav_ops.audit.entries import COLUMNS, Row
from teknav_ops.errors import StorageUnavailable
from teknav_ops.storage.database import driver_words, insert_into, takes_no_writes
from teknav_ops.storage.tables import AuditLog

#: Rows per statement: long enough for the next entries to be read meanwhile, since Python's lock is free while
#: SQLite works, and with all their values below SQLite's limit of 32,766.
_ROWS_PER_STATEMENT: Final = 400
_CAREFUL_ROWS: Final = 500
_NUMBERS: Final = ("attempt", "delivery", "duration_ms", "waited_ms")
_INTEGERS: Final = ("attempt", "delivery")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
_INTEGER_LIMIT: Final = 2**31


class RowsRefused(Exception):
    """The database refused a row, and with it the transaction: roll back and use `insert_carefully`."""


def insert_rows(session: Session, rows: Sequence[Row]) -> None:
    """Insert rows in their order.

    Raises:
        RowsRefused: one is already there, or does not fit its columns.
        StorageUnavailable: the database went away, or is full.
    """
    with driver_errors(session):
        driver: Any = session.connection().connection.driver_connection
        if session.get_bind().dialect.name == "sqlite":
            for first in range(0, len(rows), _ROWS_PER_STATEMENT):
                driver.execute(*_insert_statement(rows[first : first + _ROWS_PER_STATEMENT]))
        else:
            with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
                copy.write(_copy_text(rows))


@contextlib.contextmanager
def driver_errors(session: Session) -> Iterator[None]:
    """The driver's errors as ours, for statements that go past SQLAlchemy."""
    driver: Any = session.get_bind().dialect.dbapi
    try:
        yield
    except (driver.IntegrityError, driver.DataError) as error:
        raise RowsRefused(driver_words(error)) from None
    except (driver.OperationalError, driver.InterfaceError) as error:
        raise StorageUnavailable(f"the database did not answer: {driver_words(error)}") from None
    except driver.InternalError as error:
        if takes_no_writes(error):
            raise StorageUnavailable(f"the database takes no writes: {driver_words(error)}") from None
        raise


def _insert_statement(rows: Sequence[Row]) -> tuple[str, list[Any]]:
    # Each value costs; ordinary entries, which come in runs, leave half of the columns empty.
    filled = tuple(index for index, column in enumerate(zip(*rows, strict=True)) if any(column))
    return _statement(filled, len(rows)), list(chain.from_iterable(map(itemgetter(*filled), rows)))


@lru_cache(maxsize=512)
def _statement(filled: tuple[int, ...], row_count: int) -> str:
    names = [COLUMNS[index] for index in filled]
    # `+ 0` keeps text out of SQLite's columns of numbers, which would take it.
    values = ", ".join("? + 0" if name in _NUMBERS else "?" for name in names)
    return f"insert into audit_log ({', '.join(names)}) values " + ", ".join([f"({values})"] * row_count)


_COPY: Final = f"copy audit_log ({', '.join(COLUMNS)}) from stdin (format text, null '')"


def _copy_text(rows: Sequence[Row]) -> str:
    text = "\n".join(map("\t".join, rows)) + "\n"
    # Counting is far cheaper than looking at each value, and nearly always enough.
    is_plain = text.count("\t") == len(rows) * (len(COLUMNS) - 1) and text.count("\n") == len(rows)
    if is_plain and "\\" not in text and "\r" not in text:
        return text
    return "".join(["\t".join([value.translate(_ESCAPES) for value in row]) + "\n" for row in rows])


def insert_carefully(session: Session, rows: Sequence[Row]) -> int:
    """Insert rows one database refused: what does not fit is cut, what is there already is left. Answers how many."""
    # Asked for ids: the number of rows is kept of updates and deletes only, and would be -1 on PostgreSQL.
    statement = insert_into(session, AuditLog).on_conflict_do_nothing().returning(AuditLog.id)
    inserted = 0
    for first in range(0, len(rows), _CAREFUL_ROWS):
        some = [_fitting(row) for row in rows[first : first + _CAREFUL_ROWS]]
        inserted += len(session.scalars(statement.values(some)).all())
    return inserted


def _fitting(row: Row) -> dict[str, Any]:
    fitting: dict[str, Any] = {}
    for name, value in zip(COLUMNS, row, strict=True):
        limit = getattr(AuditLog.__table__.columns[name].type, "length", None)
        fitting[name] = (value or "").replace("\0", "�")[:limit] or None
    fitting |= {name: _number(fitting[name], is_whole=name in _INTEGERS) for name in _NUMBERS}
    return fitting | {
        "at": datetime.fromisoformat(row[2]).replace(tzinfo=UTC),
        "action": fitting["action"] or "unknown",
        "detail": json.loads(row[-1]) if row[-1] else None,
    }


def _number(text: str | None, *, is_whole: bool) -> float | int | None:
    try:
        number = float(text or "nan")
    except ValueError:
        return None
    if not math.isfinite(number) or (is_whole and abs(number) >= _INTEGER_LIMIT):
        return None
    return int(number) if is_whole else number
