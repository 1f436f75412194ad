"""Reading SQL as Arrow: through SQLAlchemy, or for large loads through an ADBC driver where one is installed."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from typing import Any, Final

import structlog
from sqlalchemy import Select, func, select

from teknav_ops.errors import StorageUnavailable
from teknav_ops.snapshots.extra import pyarrow as pa
from teknav_ops.snapshots.feeds import Feed, rows_of, source_time, without_secrets
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditSeal

log = structlog.get_logger("teknav.snapshots")

#: From so many ids on, the driver that reads three times as fast is worth its start.
LARGE_LOAD_COUNT: Final = 50_000
#: Ids read at once: what bounds memory.
CHUNK_IDS: Final = 50_000
ADBC_CHUNK_IDS: Final = 250_000


class Source:
    """The tables of SQL. Make one with `reading`."""

    def __init__(self, database: Database, adbc: Any | None) -> None:
        self._database = database
        self._adbc = adbc
        self.chunk_ids = ADBC_CHUNK_IDS if adbc else CHUNK_IDS

    @property
    def driver(self) -> str:
        """What reads."""
        return "adbc" if self._adbc else "sqlalchemy"

    def between(self, feed: Feed, after: int, until: int) -> pa.Table:
        """Rows with `after` < id <= `until`. Raises StorageUnavailable."""
        column = feed.table.c.id
        return self._read(feed, self._rows(feed).where(column > after, column <= until).order_by(column))

    def by_ids(self, feed: Feed, ids: Sequence[int]) -> pa.Table:
        """These rows, as they are now; keep the list short. Raises StorageUnavailable."""
        return self._read(feed, self._rows(feed).where(feed.table.c.id.in_(list(ids))))

    def newest_at(self, feed: Feed) -> datetime.datetime | None:
        """When the newest row's thing happened."""
        with self._database.reading() as session:
            statement = select(source_time(feed)).order_by(feed.table.c.id.desc()).limit(1)
            return session.scalar(statement)

    def at_of(self, feed: Feed, row_id: int) -> datetime.datetime | None:
        """When a row's thing happened; None where there is no such row."""
        with self._database.reading() as session:
            return session.scalar(select(source_time(feed)).where(feed.table.c.id == row_id))

    def first_id_since(self, feed: Feed, moment: datetime.datetime) -> int | None:
        """The smallest id of what happened since a moment."""
        with self._database.reading() as session:
            found: int | None = session.scalar(select(func.min(feed.table.c.id)).where(source_time(feed) >= moment))
            return found

    def pruned_until(self, feed: Feed) -> datetime.datetime | None:
        """Since when the table holds all, where older rows were pruned; None where it holds all there ever was."""
        with self._database.reading() as session:
            if session.scalar(select(func.max(AuditSeal.pruned_to_id))) is None:
                return None
            return session.scalar(select(source_time(feed)).order_by(feed.table.c.id).limit(1))

    def _rows(self, feed: Feed) -> Select[Any]:
        return rows_of(feed, is_sqlite=self._database.is_sqlite)

    def _read(self, feed: Feed, statement: Select[Any]) -> pa.Table:
        if self._adbc is not None:
            return without_secrets(self._read_fast(feed, statement))
        with self._database.reading() as session:
            columns = list(zip(*session.execute(statement).all(), strict=True)) or [()] * len(feed.schema)
        arrays = [pa.array(column, kind) for column, kind in zip(columns, feed.schema.types, strict=True)]
        return without_secrets(pa.table(arrays, schema=feed.schema))

    def _read_fast(self, feed: Feed, statement: Select[Any]) -> pa.Table:
        # The values are numbers of ours, so they may stand in the text: each driver spells parameters differently.
        compiled = statement.compile(self._database.engine, compile_kwargs={"literal_binds": True})
        from adbc_driver_manager import Error

        try:
            with self._adbc.cursor() as cursor:  # type: ignore[union-attr]
                cursor.execute(str(compiled))
                return cursor.fetch_arrow_table().cast(feed.schema)
        except Error as error:
            raise StorageUnavailable(f"the database did not answer: {error}") from error


@contextlib.contextmanager
def reading(database: Database, *, is_large: bool) -> Iterator[Source]:
    """A source for one export."""
    with contextlib.ExitStack() as stack:
        connection = _connect(database) if is_large else None
        if connection is not None:
            stack.enter_context(connection)
        yield Source(database, connection)


def _connect(database: Database) -> Any | None:
    """An ADBC connection, or None where the driver is missing or will not connect: SQLAlchemy reads the same."""
    url = database.engine.url
    try:
        if database.is_sqlite:
            from adbc_driver_sqlite import dbapi as sqlite

            return sqlite.connect(str(url.database))
        from adbc_driver_postgresql import dbapi as postgresql

        return postgresql.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
    except ImportError:
        return None
    except Exception as error:
        log.warning("snapshot.adbc_not_used", error=type(error).__name__)
        return None
