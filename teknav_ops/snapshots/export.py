"""The exporter: from SQL into the work file by watermark, and from there to a snapshot.

It may die at any line. Rows and watermark are one transaction; a published file is complete before it has its name;
and the lock goes with the process.
"""

from __future__ import annotations

import dataclasses
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from teknav_ops.durable_files import sync_folder
from teknav_ops.settings import Settings
from teknav_ops.snapshots.damage import tells_of_damage
from teknav_ops.snapshots.disk import RESERVE_BYTES, require_room, watching_for_a_full_disk
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.load import Ends, Loaded, Loader, Progress, is_of_another_database, settled_ids
from teknav_ops.snapshots.publish import publish, published_edition
from teknav_ops.snapshots.seals import is_as_published
from teknav_ops.snapshots.work import WorkFile, open_work_file, remove_work_file, remove_work_file_log
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.snapshots")

_FIXED_BYTES: Final = 4 * 1024 * 1024
#: How long a transaction that inserts may hold up an export; the next export takes what it left.
SETTLE_SECONDS: Final = 2.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export did. `path` is the snapshot it published, None where there was nothing new.

    `is_waiting`: a transaction that inserts was open for long, so nothing was taken of its table.
    `has_more`: it ended early; run it again.
    """

    path: Path | None
    row_count: int
    ai_row_count: int
    added: int
    changed: int
    forgotten: int
    removed_generations: int
    is_waiting: bool
    has_more: bool
    seconds: float


class Exporter:
    """Brings a folder of snapshots up to date."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        *,
        retention_days: int = 35,
        reserve_bytes: int = RESERVE_BYTES,
        settle_seconds: float = SETTLE_SECONDS,
    ) -> None:
        self._database = database
        self.folder = SnapshotFolder(folder)
        self._retention_days = retention_days
        self._reserve_bytes = reserve_bytes
        self._settle_seconds = settle_seconds
        #: What this exporter published last, and its edition.
        self._published: tuple[Path | None, str] = (None, "")

    @classmethod
    def from_settings(cls, settings: Settings, database: Database) -> Exporter:
        """An exporter for the settings' folder."""
        return cls(database, settings.snapshot_root, retention_days=settings.snapshot_retention_days)

    def export(
        self,
        *,
        rebuild: bool = False,
        max_seconds: float | None = None,
        wait_seconds: float = 0.0,
        on_progress: Progress = lambda _done, _total: None,
    ) -> Exported:
        """Take what is new and publish it. `max_seconds` ends it early, with nothing lost and `has_more` set.

        Raises:
            SnapshotBusy: another exporter is at work, and still was after `wait_seconds`.
            SnapshotDiskFull: there is no room. The snapshots that exist are intact.
            StorageUnavailable: the database did not answer.
        """
        begun = time.monotonic()
        deadline = None if max_seconds is None else begun + max_seconds
        with self.folder.locked(wait_seconds=wait_seconds), watching_for_a_full_disk(self.folder.path):
            self.folder.remove_leftovers()
            removed = self.folder.collect()
            if rebuild:
                remove_work_file(self.folder.work_file)
            # Taken later, it would promise rows that were not there when SQL was asked how far it is.
            exported_at = datetime.now(UTC)
            ends = settled_ids(self._database, wait_seconds=self._settle_seconds)
            loaded, meta, path = self._bring_up_to_date(ends, exported_at, deadline, on_progress)
            if path is not None:
                removed += self.folder.collect()
        return Exported(
            path=path, row_count=meta["row_count"], ai_row_count=meta["ai_row_count"], added=loaded.added,
            changed=loaded.changed, forgotten=loaded.forgotten, removed_generations=removed,
            is_waiting=None in ends.values(), has_more=loaded.has_more, seconds=time.monotonic() - begun,
        )  # fmt: skip

    def _bring_up_to_date(
        self, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress
    ) -> tuple[Loaded, dict[str, Any], Path | None]:
        try:
            return self._load_and_publish(ends, exported_at, deadline, on_progress)
        except duckdb.Error as error:
            if not tells_of_damage(error):
                raise
            # Blocks are checked when they are read: it may open, and be damaged all the same.
            log.warning("snapshot.rebuild", reason=str(error))
        remove_work_file(self.folder.work_file)
        return self._load_and_publish(ends, exported_at, deadline, on_progress)

    def _load_and_publish(
        self, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress
    ) -> tuple[Loaded, dict[str, Any], Path | None]:
        loaded, meta = self._load(ends, exported_at, deadline, on_progress)
        if loaded.has_more or meta["edition"] == self._published_edition():
            return loaded, meta, None
        self._require_room(self.folder.work_file.stat().st_size)
        path = publish(self.folder)
        self._published = (path, meta["edition"])
        return loaded, meta, path

    def _load(
        self, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress
    ) -> tuple[Loaded, dict[str, Any]]:
        with self._opened(ends) as work:
            loader = Loader(
                work=work, database=self._database, retention_days=self._retention_days, exported_at=exported_at,
                deadline=deadline, on_progress=on_progress, require_room=self._require_room,
            )  # fmt: skip
            loaded = loader.load(ends)
            meta, has_holes = work.meta(), work.has_holes()
            if has_holes:
                self._require_room(self.folder.work_file.stat().st_size)
                work.compact_into(self._compacted)
        if has_holes:
            self._swap_in()
        return loaded, meta

    def _published_edition(self) -> str | None:
        path, edition = self._published
        # One of our own that nobody has touched need not be opened to know what it holds.
        is_ours = path is not None and path == self.folder.newest() and is_as_published(path, is_read=False)
        return edition if is_ours else published_edition(self.folder)

    def _opened(self, ends: Ends) -> WorkFile:
        work = open_work_file(self.folder.work_file)
        try:
            if not is_of_another_database(work, self._database, ends):
                return work
        except BaseException:
            work.close()
            raise
        work.close()
        remove_work_file(self.folder.work_file)
        return open_work_file(self.folder.work_file)

    def _swap_in(self) -> None:
        with self._compacted.open("rb") as file:
            os.fsync(file.fileno())
        self._compacted.chmod(0o600)
        # The copy holds what a log that could not be written into the file holds.
        remove_work_file_log(self.folder.work_file)
        self._compacted.replace(self.folder.work_file)
        sync_folder(self.folder.work_folder)

    @property
    def _compacted(self) -> Path:
        return self.folder.work_folder / "audit.compact.duckdb"

    def _require_room(self, needed_bytes: int) -> None:
        require_room(self.folder.path, needed_bytes + _FIXED_BYTES, reserve_bytes=self._reserve_bytes)
