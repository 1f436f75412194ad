"""The private work file: rows and watermark move together, in one transaction of DuckDB.

Only the exporter that holds the folder's lock opens it. Whatever kills that exporter leaves a file whose watermark
says exactly what it holds; DuckDB replays or drops what was being written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import structlog

from teknav_ops.errors import SnapshotBusy
from teknav_ops.snapshots.damage import read_whole, tells_of_damage
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.extra import pyarrow as pa
from teknav_ops.snapshots.feeds import AUDIT, Feed
from teknav_ops.snapshots.schema import SCHEMA_VERSION, STORAGE_VERSION, moment_of, read_meta, statement, version_of

log = structlog.get_logger("teknav.snapshots")

#: An exporter runs beside other duties: it takes no more than this.
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "storage_compatibility_version": STORAGE_VERSION, "memory_limit": "1GB", "threads": "2",
}  # fmt: skip
_COMPACTED_FREE_SHARE: Final = 0.3
_COMPACTED_LEAST_BLOCKS: Final = 64
#: An action or a run that is still open after so long is looked at no more: its process has died.
_OPEN_DAYS: Final = 7


class WorkFile:
    """One open work file. Use `open_work_file`."""

    def __init__(self, path: Path, connection: Any) -> None:
        self.path = path
        self._connection = connection

    def __enter__(self) -> WorkFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Write everything into the one file. After an error it may refuse, and is repaired when it is next opened."""
        try:
            self._connection.execute("checkpoint")
        except duckdb.Error as error:
            log.warning("snapshot.not_checkpointed", error=str(error))
        finally:
            self._connection.close()

    def meta(self) -> dict[str, Any]:
        """The row of snapshot_meta."""
        return read_meta(self._connection)

    def add(self, feed: Feed, rows: pa.Table, *, watermark: int, exported_at: datetime) -> None:
        """Append rows and move the watermark."""
        with self._transaction(exported_at), self._incoming(rows):
            self._connection.execute(f"insert into {feed.target} {statement(f'shape_{feed.target}')} order by id")
            self._connection.execute(f"update snapshot_meta set {feed.watermark} = $1", [watermark])

    def replace(self, feed: Feed, rows: pa.Table, *, exported_at: datetime) -> int:
        """Put rows that were read anew in place of those with their ids; answers how many had changed."""
        ids = rows["id"].to_pylist()
        with self._incoming(rows):
            self._connection.execute(
                f"create or replace temp table changed as ({statement(f'shape_{feed.target}')}) "
                f"except select * from {feed.target} where id in (select unnest($1::bigint[]))",
                [ids],
            )
        count = int(self._connection.execute("select count(*) from changed").fetchone()[0])
        if count:
            with self._transaction(exported_at):
                self._connection.execute(f"delete from {feed.target} where id in (select id from changed)")
                self._connection.execute(f"insert into {feed.target} from changed")
        return count

    def open_ids(self, feed: Feed, now: datetime) -> list[int]:
        """Rows that may still change in SQL, newest first."""
        found = self._connection.execute(
            f"select id from {feed.target} where {feed.open_rows} and {feed.time_column} > $1 order by id desc",
            [now - timedelta(days=_OPEN_DAYS)],
        )
        return [row[0] for row in found.fetchall()]

    def newest(self, feed: Feed) -> tuple[int, datetime] | None:
        """The row with the largest id, and when it happened."""
        # The largest id is known without reading the column; arg_max would read two.
        found = self._connection.execute(
            f"select id, epoch_us({feed.time_column}) from {feed.target} where id = (select max(id) from {feed.target})"
        ).fetchone()
        return None if found is None else (found[0], moment_of(found[1]))

    def forget_before(self, moment: datetime, *, exported_at: datetime) -> int:
        """Delete what is older; answers how many rows."""
        feeds = (("audit", "occurred_at"), ("ai_run", "started_at"))
        counts = [
            self._connection.execute(f"select count(*) from {table} where {column} < $1", [moment]).fetchone()[0]
            for table, column in feeds
        ]
        if any(counts) or self.meta()["kept_from"] < moment:
            with self._transaction(exported_at):
                for table, column in feeds:
                    self._connection.execute(f"delete from {table} where {column} < $1", [moment])
                self._connection.execute("update snapshot_meta set kept_from = greatest(kept_from, $1)", [moment])
            self._connection.execute("checkpoint")
        return sum(counts)

    def start_at(self, feed: Feed, watermark: int, kept_from: datetime, *, exported_at: datetime) -> None:
        """An empty file's first watermark: nothing before it is wanted."""
        with self._transaction(exported_at):
            self._connection.execute(f"update snapshot_meta set {feed.watermark} = $1", [watermark])
            if feed is AUDIT:
                self._connection.execute("update snapshot_meta set kept_from = $1", [kept_from])

    def has_holes(self) -> bool:
        """Whether so much of the file was free at the last checkpoint that a copy would be much smaller."""
        total, free = self._connection.execute(
            "select total_blocks, free_blocks from pragma_database_size() where database_name = current_database()"
        ).fetchone()
        return bool(total >= _COMPACTED_LEAST_BLOCKS and free > total * _COMPACTED_FREE_SHARE)

    def compact_into(self, path: Path) -> None:
        """Write a copy without free blocks."""
        name = self._connection.execute("select current_database()").fetchone()[0]
        self._connection.execute(f"attach '{_quoted(path)}' as compacted (storage_version '{STORAGE_VERSION}')")
        self._connection.execute(f'copy from database "{name}" to compacted')
        self._connection.execute("checkpoint compacted")
        self._connection.execute("detach compacted")

    @contextlib.contextmanager
    def _incoming(self, rows: pa.Table) -> Iterator[None]:
        self._connection.register("incoming", rows)
        try:
            yield
        finally:
            self._connection.unregister("incoming")

    @contextlib.contextmanager
    def _transaction(self, exported_at: datetime) -> Iterator[None]:
        self._connection.execute("begin")
        try:
            yield
            self._connection.execute(
                "update snapshot_meta set edition = uuid()::varchar, exported_at = $1, "
                "row_count = (select count(*) from audit), ai_row_count = (select count(*) from ai_run)",
                [exported_at],
            )
            self._connection.execute("commit")
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self._connection.execute("rollback")
            raise


def nothing() -> bool:
    """Takes nothing in place of a work file: it is made from SQL alone."""
    return False


def open_work_file(path: Path, take: Callable[[], bool] = nothing) -> WorkFile:
    """Open the work file, or make it anew where there is none, it is damaged, or of another schema version.

    `take` may put another in the place of one that is lost or damaged, and says whether it did.

    Raises:
        SnapshotBusy: another program has the file open.
    """
    if not path.exists():
        remove_work_file(path)
        return WorkFile(path, _connect(path)) if take() else _create(path)
    try:
        work = WorkFile(path, _connect(path))
        try:
            version = version_of(work._connection)
        except BaseException:
            work._connection.close()
            raise
        if version == SCHEMA_VERSION:
            return work
        work.close()
        take = nothing
        log.info("snapshot.rebuild", reason=f"schema version {version}, and this is {SCHEMA_VERSION}")
    except duckdb.Error as error:
        if "conflicting lock" in str(error).lower():
            raise SnapshotBusy(f"{path} is open in another program; look at the published snapshots instead") from error
        if not tells_of_damage(error):
            raise
        log.warning("snapshot.rebuild", reason=str(error))
    remove_work_file(path)
    return WorkFile(path, _connect(path)) if take() else _create(path)


def require_whole(path: Path) -> None:
    """Read all of a closed work file, or of its copy. Raises duckdb.Error where a block is damaged."""
    with duckdb.connect(str(path), read_only=True, config=_CONFIG) as connection:
        read_whole(connection)


def remove_work_file(path: Path) -> None:
    """Remove it, the log first: a log without its file would be replayed into the next one."""
    remove_work_file_log(path)
    path.unlink(missing_ok=True)


def remove_work_file_log(path: Path) -> None:
    """Drop what was committed and not yet written into the file. Its watermark says so."""
    path.with_name(path.name + ".wal").unlink(missing_ok=True)


def _create(path: Path) -> WorkFile:
    connection = _connect(path)
    path.chmod(0o600)
    connection.execute("begin")
    connection.execute(statement("schema"))
    long_ago = datetime(1970, 1, 1, tzinfo=UTC)
    connection.execute(
        "insert into snapshot_meta values ($1, uuid()::varchar, 0, 0, 0, 0, $2, $2)", [SCHEMA_VERSION, long_ago]
    )
    connection.execute("commit")
    return WorkFile(path, connection)


def _connect(path: Path) -> Any:
    connection = duckdb.connect(str(path), config=_CONFIG)
    connection.execute("set global TimeZone = 'UTC'")
    return connection


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
