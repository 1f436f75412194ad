"""Rows of AuditLog as lines of bytes that say everything about them, as fast as each database gives them.

A line is what a row's digest is made of, so its form is fixed. SQLite: a JSON array, numbers in Python's shortest form
behind it, since SQLite's own would change with its version. PostgreSQL: a line of COPY, under settings that are fixed
here.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy.orm import Session

from teknav_ops.audit.bulk_insert import driver_errors

DIGEST_BYTES: Final = 16
#: Below every id, also those that only someone with a tool of their own can give.
BEFORE_ALL: Final = -(2**63)
#: What may change once, when an action that was `requested` ends.
_CHANGING: Final = ("outcome", "detail")
_TEXTS: Final = (
    "at", "action", "actor", "queue", "stream_id", "job_id", "job_name", "attempt", "delivery", "error_type",
    "fingerprint", "trace_id", *_CHANGING,
)  # fmt: skip
_NUMBERS: Final = ("duration_ms", "waited_ms")
#: What a line holds, in its order.
COLUMNS: Final = ("id", *_TEXTS, *_NUMBERS)
_OUTCOME: Final = COLUMNS.index("outcome")
_ROWS_AT_ONCE: Final = 2_000
_SETTINGS: Final = (
    "set local timezone = 'UTC'", "set local datestyle = 'ISO, YMD'", "set local extra_float_digits = 1",
    "set local bytea_output = 'hex'", "set local client_encoding = 'UTF8'",
)  # fmt: skip


def digest(line: bytes) -> bytes:
    """What a link keeps of a row."""
    return hashlib.sha256(line).digest()[:DIGEST_BYTES]


def content_hash(lines: list[bytes]) -> str:
    """What a link keeps of all its rows: far cheaper than a digest of each, and nearly always all that is asked for."""
    return hashlib.sha256(b"\n".join(lines)).hexdigest()


def id_of(line: bytes) -> int:
    """The row's id."""
    return int(line[1 : line.index(b",")] if line[:1] == b"[" else line[: line.index(b"\t")])


def is_open(line: bytes) -> bool:
    """Whether the row's action was begun and has not ended."""
    if b"requested" not in line:
        return False
    # Python's form of no number is not JSON's.
    values = json.loads(line.rsplit(b",", 2)[0] + b"]") if line[:1] == b"[" else line.split(b"\t")
    return values[_OUTCOME] in ("requested", b"requested")


def read_lines(session: Session, after_id: int, up_to_id: int, *, limit: int | None = None) -> Iterator[bytes]:
    """The rows with an id above one and up to another, by id. Raises StorageUnavailable."""
    yield from _read(session, f"id > {after_id:d} and id <= {up_to_id:d}", _TEXTS, limit)


def read_some(session: Session, ids: Iterable[int], *, without_end: bool = False) -> dict[int, bytes]:
    """The lines of rows by their ids; with `without_end`, of what must not change when their action ends."""
    wanted = ",".join(f"{each:d}" for each in ids)
    if not wanted:
        return {}
    columns = tuple("null" if without_end and name in _CHANGING else name for name in _TEXTS)
    return {id_of(line): line for line in _read(session, f"id in ({wanted})", columns, None)}


def _read(session: Session, where: str, texts: tuple[str, ...], limit: int | None) -> Iterator[bytes]:
    rest = f"from audit_log where {where} order by id" + ("" if limit is None else f" limit {limit:d}")
    driver: Any = session.connection().connection.driver_connection
    with driver_errors(session):
        if session.get_bind().dialect.name == "sqlite":
            yield from _sqlite_lines(driver, texts, rest)
        else:
            yield from _postgresql_lines(driver, texts, rest)


def _sqlite_lines(driver: sqlite3.Connection, texts: tuple[str, ...], rest: str) -> Iterator[bytes]:
    done = 0
    try:
        cursor = driver.execute(f"select json_array(id, {', '.join(texts)}), {', '.join(_NUMBERS)} {rest}")
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            lines = [f"{text[:-1]},{duration!r},{waited!r}]".encode() for text, duration, waited in rows]
            yield from lines
            done += len(lines)
    except (sqlite3.Error, UnicodeError):
        # A value of a kind that its column cannot have: only someone with a tool of their own can have put it there.
        yield from itertools.islice(_careful_lines(driver, texts, rest), done, None)


def _careful_lines(driver: sqlite3.Connection, texts: tuple[str, ...], rest: str) -> Iterator[bytes]:
    """The same for values that are what they should be, and something for all others."""
    values = [f"case typeof({each}) when 'blob' then 'blob ' || hex({each}) else {each} end" for each in texts]
    numbers = [f"case when typeof({each}) in ('text', 'blob') then hex({each}) else {each} end" for each in _NUMBERS]
    for row in driver.execute(f"select cast(json_array(id, {', '.join(values)}) as blob), {', '.join(numbers)} {rest}"):
        text, duration, waited = row
        yield b"%b,%r,%r]" % (text[:-1], duration, waited)


def _postgresql_lines(driver: Any, texts: tuple[str, ...], rest: str) -> Iterator[bytes]:
    columns = ", ".join(("id", *texts, *_NUMBERS))
    with driver.cursor() as cursor:
        for setting in _SETTINGS:
            cursor.execute(setting)
        with cursor.copy(f"copy (select {columns} {rest}) to stdout") as copy:
            for data in copy:
                yield bytes(data)[:-1]
