"""Opening a snapshot: the newest file, read-only and hardened. All open it through here, or configurations differ."""

from __future__ import annotations

import dataclasses
import threading
import time
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from teknav_ops.errors import NoSnapshot
from teknav_ops.settings import Settings
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.schema import SCHEMA_VERSION, read_meta, version_of

#: A snapshot is data: whoever may type SQL over it may not reach a file or the network through it.
_CONFIG: Final[dict[str, str | bool | int | float | list[str]]] = {
    "enable_external_access": "false",
    "python_enable_replacements": "false",
}
_TRIES: Final = 20
_PAUSE_SECONDS: Final = 0.05
#: One process that opens a file twice gets one instance: only the first may configure it.
_opening = threading.Lock()


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
        self._connection = connection

    @property
    def as_of(self) -> datetime:
        """What happened later may be missing. Show it on every chart."""
        return self.meta.exported_at

    def cursor(self) -> Any:
        """A DuckDB connection to the same file. One per call or thread: DuckDB refuses two threads on one."""
        return self._connection.cursor()

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
    """The newest snapshot of a folder, or of the settings' folder.

    Raises:
        NoSnapshot: there is none, or none that this version can read; the message says what to do.
    """
    folder = SnapshotFolder(where.snapshot_root if isinstance(where, Settings) else Path(where))
    problem: Exception | None = None
    for _ in range(_TRIES):
        path = folder.newest()
        if path is None:
            raise NoSnapshot(f"snapshot: there is none in {folder.path} yet; run `teknav audit snapshot`")
        try:
            return open_file(path)
        except duckdb.IOException as error:
            # Collected since its name was read: there is a newer one.
            problem = error
            time.sleep(_PAUSE_SECONDS)
    raise NoSnapshot(f"snapshot: {path} cannot be opened: {problem}; run `teknav audit snapshot`") from problem


def open_file(path: Path) -> Snapshot:
    """One snapshot by its path.

    Raises:
        NoSnapshot: it was written by another version.
        duckdb.Error: it cannot be opened.
    """
    with _opening:
        connection: Any = duckdb.connect(str(path), read_only=True, config=_CONFIG)
        try:
            if connection.execute("select current_setting('lock_configuration')").fetchone()[0] is not True:
                connection.execute("set global TimeZone = 'UTC'")
                connection.execute("set lock_configuration = true")
            return Snapshot(path, connection, _meta(path, connection))
        except BaseException:
            connection.close()
            raise


def _meta(path: Path, connection: Any) -> SnapshotMeta:
    version = version_of(connection)
    if version != SCHEMA_VERSION:
        raise NoSnapshot(
            f"snapshot: {path} has schema version {version}, and this program reads {SCHEMA_VERSION}; "
            "run `teknav audit snapshot`"
        )
    return SnapshotMeta(**read_meta(connection))
