"""Opening a snapshot: the newest file, read-only and hardened.

DuckDB lets all connections of a process to one file have one configuration only. So ours is a database in memory with
the file attached: whoever connects to the file besides, plainly, gets DuckDB's own configuration and not an error.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import structlog

from teknav_ops.errors import InvalidRequest, NoSnapshot
from teknav_ops.settings import Settings
from teknav_ops.snapshots.damage import OF_WHO_ASKS, read_whole, tells_of_damage
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.schema import SCHEMA_VERSION, read_meta, version_of
from teknav_ops.snapshots.seals import is_as_published

log = structlog.get_logger("teknav.snapshots")

#: A snapshot is data: whoever may type SQL over it may not reach a file or the network through it.
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "python_enable_replacements": "false",
}
#: The attached file's name in SQL.
_NAME: Final = "snapshot"
#: What opening a file raises that is damaged, or of another program.
_DAMAGE: Final[tuple[type[Exception], ...]] = (NoSnapshot, OSError, duckdb.Error, TypeError)
#: DuckDB lets a process open a file for reading as often as it likes, or once for writing.
_IN_USE: Final[type[Exception]] = duckdb.ResourceInUseException
#: What the questions to one open snapshot may take, and never more than a quarter of the machine.
_MOST_MEMORY_BYTES: Final = 2 * 1024**3
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.05


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotMeta:
    """What a snapshot says of itself. `kept_from`: everything that happened since then is in it."""

    schema_version: int
    edition: str
    watermark: int
    ai_watermark: int
    row_count: int
    ai_row_count: int
    kept_from: datetime
    exported_at: datetime


class Snapshot:
    """One immutable file, open for reading. Close it, or use it in a `with` block."""

    def __init__(self, path: Path, connection: Any, meta: SnapshotMeta) -> None:
        self.path = path
        self.meta = meta
        #: Newer files that could not be used, the newest first.
        self.passed_over: tuple[Path, ...] = ()
        self._connection = connection

    @property
    def as_of(self) -> datetime:
        """What happened later may be missing. Show it on every chart."""
        return self.meta.exported_at

    def cursor(self) -> Any:
        """A DuckDB connection to the same open file. One per call or thread: DuckDB refuses two threads on one."""
        cursor = self._connection.cursor()
        cursor.execute(f"use {_NAME}")
        return cursor

    def read_whole(self) -> None:
        """Read all of it. Raises duckdb.Error where a block is damaged."""
        with contextlib.closing(self.cursor()) as cursor:
            read_whole(cursor)

    def damaged(self, error: Exception) -> NoSnapshot | None:
        """What to raise in place of an error of a question, where it tells that the file has been damaged.

        The file's time is set: with another, who opens it and who publishes compare its checksum again.
        """
        if isinstance(error, OF_WHO_ASKS) or not tells_of_damage(error):
            return None
        with contextlib.suppress(OSError):
            os.utime(self.path)
        return NoSnapshot(
            f"snapshot: {self.path} has been damaged since it was opened: {error}; ask again: an older one is opened, "
            "and the scheduler, or `teknav audit snapshot`, publishes another"
        )

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_snapshot(where: Path | Settings) -> Snapshot:
    """The newest snapshot of a folder, or of the settings' folder, that is as it was published.

    Damaged ones, and those of another version, are passed over with a warning, and named in `passed_over`.

    Raises:
        NoSnapshot: there is none that this program can read; the message says what to do.
    """
    folder = SnapshotFolder(where.snapshot_root if isinstance(where, Settings) else Path(where))
    problem: Exception | None = None
    for _ in range(_TRIES):
        paths = _newest_first(folder)
        if not paths:
            raise NoSnapshot(f"snapshot: there is none in {folder.path} yet; run `teknav audit snapshot`")
        passed_over: list[Path] = []
        for path in paths:
            try:
                return _with_warning(open_file(path), passed_over, problem)
            except OF_WHO_ASKS:
                raise
            except _DAMAGE as error:
                # What is gone was collected since its name was read; there are newer ones. A link may lead nowhere.
                if os.path.lexists(path):
                    passed_over.append(path)
                    problem = problem or error
        if len(passed_over) == len(paths):
            break
        time.sleep(_PAUSE_SECONDS)
    if isinstance(problem, NoSnapshot):
        raise problem
    raise NoSnapshot(f"snapshot: {paths[0]} cannot be opened: {problem}; run `teknav audit snapshot`") from problem


def _newest_first(folder: SnapshotFolder) -> list[Path]:
    try:
        return [path for _, path in reversed(folder.generations())]
    except OSError as error:
        raise NoSnapshot(
            f"snapshot: {folder.path} cannot be listed: {error.strerror}; set TEKNAV_SNAPSHOT_DIR to a folder"
        ) from error


def _with_warning(snapshot: Snapshot, passed_over: list[Path], problem: Exception | None) -> Snapshot:
    if passed_over:
        snapshot.passed_over = tuple(passed_over)
        log.warning(
            "snapshot.passed_over",
            files=[path.name for path in passed_over],
            opened=snapshot.path.name,
            as_of=snapshot.as_of.isoformat(),
            error=str(problem),
        )
    return snapshot


def open_file(path: Path) -> Snapshot:
    """One snapshot by its path.

    Raises:
        NoSnapshot: it is not as it was published, or was written by another version.
        InvalidRequest: this process has it open for writing.
        duckdb.Error, OSError: it cannot be opened.
    """
    is_known = is_as_published(path)
    if is_known is False:
        raise NoSnapshot(f"snapshot: {path} is damaged: it is not what was published; run `teknav audit snapshot`")
    connection: Any = duckdb.connect(":memory:", config=_CONFIG)
    try:
        for setting in (
            f"attach {_quoted(path)} as {_NAME} (read_only)",
            f"use {_NAME}",
            # Beside the file, as DuckDB does by itself with a file that is connected to.
            f"set temp_directory = {_quoted(path.with_name(f'{path.name}.tmp'))}",
            "set enable_external_access = false",
            "set global TimeZone = 'UTC'",
            # DuckDB would take four fifths of the machine; beyond this it goes on in temporary files.
            f"set global memory_limit = '{_memory_limit_bytes()} B'",
            "set lock_configuration = true",
        ):
            connection.execute(setting)
        snapshot = Snapshot(path, connection, _meta(path, connection))
        if is_known is None:
            snapshot.read_whole()
        return snapshot
    except _IN_USE as error:
        connection.close()
        raise InvalidRequest(
            f"snapshot: this process has {path} open for writing; close that, and connect with read_only=True: {error}"
        ) from error
    except BaseException:
        connection.close()
        raise


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _memory_limit_bytes() -> int:
    machine_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(_MOST_MEMORY_BYTES, machine_bytes // 4)


def _meta(path: Path, connection: Any) -> SnapshotMeta:
    version = version_of(connection)
    if version != SCHEMA_VERSION:
        raise NoSnapshot(
            f"snapshot: {path} has schema version {version}, and this program reads {SCHEMA_VERSION}; "
            "run `teknav audit snapshot`"
        )
    for table in ("audit", "ai_run"):
        connection.execute(f"select * from {table} limit 0")
    return SnapshotMeta(**read_meta(connection))
