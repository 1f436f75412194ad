"""The database: sessions with short transactions, the same on SQLite and PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, sessionmaker

from teknav_ops.errors import StorageRefused, StorageUnavailable
from teknav_ops.storage.tables.base import Base, utc_now

_BUSY_TIMEOUT_MS = 10_000
#: read_only_sql_transaction, which drivers do not count among the errors of operation.
_READ_ONLY = "25006"
#: Classes of SQLSTATE: syntax or access rule, invalid schema, feature not supported.
_POSTGRESQL_FAULTS = ("42", "3F", "0A")
#: Class of SQLSTATE: a value that cannot be read, which PostgreSQL quotes.
_POSTGRESQL_VALUES = "22"
_QUOTED = re.compile('".*"', re.DOTALL)
_SQLITE_FAULTS = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH)


class Database:
    """Connects at first use, so it may be made before a fork; safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._new_session = sessionmaker(engine, expire_on_commit=False)
        self._new_reader = sessionmaker(engine.execution_options(read_only=True), expire_on_commit=False)

    @classmethod
    def open(cls, url: str) -> Database:
        """A database by SQLAlchemy URL; the folder of a SQLite file is made."""
        return cls(open_engine(url))

    @property
    def is_sqlite(self) -> bool:
        """Whether this is the embedded database."""
        return self.engine.dialect.name == "sqlite"

    def now(self) -> datetime:
        """This moment by the clock that all who share the database can go by: its server's; a SQLite file's is ours.

        Raises:
            StorageUnavailable, StorageRefused: as `session`.
        """
        if self.is_sqlite:
            return utc_now()
        with self.reading() as session:
            return session.scalars(select(func.now())).one().astimezone(UTC)

    @contextlib.contextmanager
    def session(self) -> Iterator[Session]:
        """One transaction: committed at the end of the block, rolled back when it raises.

        Raises:
            StorageUnavailable: the database could not be reached, or gave up.
            StorageRefused: it cannot do this, now or later.
        """
        with _translated(), self._new_session.begin() as session:
            yield session

    @contextlib.contextmanager
    def reading(self) -> Iterator[Session]:
        """A transaction that only reads; on SQLite it waits for nobody and nobody waits for it.

        Raises:
            StorageUnavailable: the database could not be reached, or gave up.
            StorageRefused: it cannot do this, now or later.
        """
        with _translated(), self._new_reader.begin() as session:
            yield session

    def dispose(self) -> None:
        """Close the connections."""
        self.engine.dispose()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except PoolTimeout as error:
        raise StorageUnavailable("the database was busy: no connection became free in time") from error
    except DBAPIError as error:
        if _cannot_pass(error.orig):
            raise StorageRefused(f"the database refuses this: {_reason(error)}") from error
        if isinstance(error, OperationalError | InterfaceError):
            raise StorageUnavailable(f"the database did not answer: {_reason(error)}") from error
        if takes_no_writes(error.orig):
            raise StorageUnavailable(f"the database takes no writes: {_reason(error)}") from error
        raise


def _cannot_pass(error: BaseException | None) -> bool:
    """Whether the statement itself is at fault, or who sends it: a missing table or column, syntax, no right to it."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", None) in _SQLITE_FAULTS
    return (getattr(error, "sqlstate", None) or "").startswith(_POSTGRESQL_FAULTS)


def takes_no_writes(error: BaseException | None) -> bool:
    """Whether PostgreSQL only reads at the moment: a standby that the address leads to during a failover, or a server
    that its host has made read-only because the disk is nearly full.
    """
    return getattr(error, "sqlstate", None) == _READ_ONLY


def insert_into(session: Session, table: type[Base]) -> Any:
    """An INSERT that knows `on_conflict_do_…`, which SQLAlchemy spells per database."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def driver_words(error: BaseException) -> str:
    """What a driver says, in one line and without the values of a row, which PostgreSQL quotes."""
    words = getattr(getattr(error, "diag", None), "message_primary", None) or str(error)
    if (getattr(error, "sqlstate", None) or "").startswith(_POSTGRESQL_VALUES):
        words = _QUOTED.sub('"…"', words)
    return next(iter(words.strip().splitlines()), type(error).__name__)


def _forget_values(context: ExceptionContext) -> None:
    # For who shows it, and for the stack below: what SQLAlchemy adds has no values either (`hide_parameters`).
    error, found = context.sqlalchemy_exception, context.original_exception
    if isinstance(error, DBAPIError):
        words = driver_words(found)
        found.args = (words, *found.args[1:])
        error.args = (f"({type(found).__name__}) {words}",)


def _reason(error: DBAPIError) -> str:
    return driver_words(error.orig) if error.orig is not None else type(error).__name__


def open_engine(url: str) -> Engine:
    """An engine with this project's settings for either database."""
    engine = _open_engine(url)
    event.listen(engine, "handle_error", _forget_values)
    return engine


def _open_engine(url: str) -> Engine:
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed, pool_pre_ping=True, pool_size=10, hide_parameters=True)
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    engine = create_engine(parsed, connect_args={"timeout": _BUSY_TIMEOUT_MS / 1000}, hide_parameters=True)
    event.listen(engine, "do_connect", _make_private_file)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private_file(_dialect: Any, _record: Any, arguments: list[Any], _options: Any) -> None:
    # SQLite makes it by the umask, which is another's where an application of one's own is the first to open it.
    path = str(arguments[0])
    if path != ":memory:" and not path.startswith("file:"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _set_up_sqlite(connection: Any, _record: Any) -> None:
    # SQLAlchemy begins transactions (below), not the driver, which would begin them too late.
    connection.isolation_level = None
    for pragma in ("journal_mode=wal", "synchronous=normal", "foreign_keys=on", f"busy_timeout={_BUSY_TIMEOUT_MS}"):
        connection.execute(f"pragma {pragma}")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail, not wait, when another writes in between.
    is_read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("begin" if is_read_only else "begin immediate")
