"""The exporter: from SQL into the work file by watermark, and from there to a snapshot.

It may die at any line. Rows and watermark are one transaction; a published file is complete before it has its name;
and the lock goes with the process.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from teknav_ops.durable_files import RESERVE_BYTES, sync_folder
from teknav_ops.settings import Settings
from teknav_ops.snapshots.damage import tells_of_damage
from teknav_ops.snapshots.disk import require_room, watching_for_a_full_disk
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.load import Ends, Loaded, Loader, Progress, is_of_another_database, settled_ids
from teknav_ops.snapshots.publish import publish, published_edition, take_published
from teknav_ops.snapshots.seals import is_as_published
from teknav_ops.snapshots.work import WorkFile, nothing, open_work_file, remove_work_file, remove_work_file_log
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.snapshots")

_FIXED_BYTES: Final = 4 * 1024 * 1024
#: How long a transaction that inserts may hold up an export; the next export takes what it left.
SETTLE_SECONDS: Final = 2.0

#: Puts something in the place of a work file that is lost or damaged, and says whether it did.
Take = Callable[[], bool]


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
            loaded, meta, path = self._bring_up_to_date(ends, exported_at, deadline, on_progress, is_rebuild=rebuild)
            if path is not None:
                removed += self.folder.collect()
        return Exported(
            path=path, row_count=meta["row_count"], ai_row_count=meta["ai_row_count"], added=loaded.added,
            changed=loaded.changed, forgotten=loaded.forgotten, removed_generations=removed,
            is_waiting=None in ends.values(), has_more=loaded.has_more, seconds=time.monotonic() - begun,
        )  # fmt: skip

    def _bring_up_to_date(
        self, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress, *, is_rebuild: bool
    ) -> tuple[Loaded, dict[str, Any], Path | None]:
        takes = (nothing,) if is_rebuild else (self._take_published, self._take_published)
        for take in takes:
            try:
                return self._load_and_publish(take, ends, exported_at, deadline, on_progress)
            except duckdb.Error as error:
                if not tells_of_damage(error):
                    raise
                # Blocks are checked when they are read: it may open, and be damaged all the same.
                log.warning("snapshot.rebuild", reason=str(error))
            remove_work_file(self.folder.work_file)
        return self._load_and_publish(nothing, ends, exported_at, deadline, on_progress)

    def _take_published(self) -> bool:
        newest = self.folder.newest()
        if newest is not None:
            # It may be gone, or a link that leads to itself: whether it is sound is asked next.
            with contextlib.suppress(OSError):
                self._require_room(newest.stat().st_size)
        is_taken = take_published(self.folder)
        if is_taken:
            log.info("snapshot.taken", reason="the work file is made from the newest snapshot", file=str(newest))
        return is_taken

    def _load_and_publish(
        self, take: Take, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress
    ) -> tuple[Loaded, dict[str, Any], Path | None]:
        loaded, meta = self._load(take, ends, exported_at, deadline, on_progress)
        if loaded.has_more or meta["edition"] == self._published_edition():
            return loaded, meta, None
        self._require_room(self.folder.work_file.stat().st_size)
        path = publish(self.folder)
        self._published = (path, meta["edition"])
        return loaded, meta, path

    def _load(
        self, take: Take, ends: Ends, exported_at: datetime, deadline: float | None, on_progress: Progress
    ) -> tuple[Loaded, dict[str, Any]]:
        with self._opened(take, ends) as work:
            loader = Loader(
                work=work, database=self._database, retention_days=self._retention_days, exported_at=exported_at,
                deadline=deadline, on_progress=on_progress, require_room=self._require_room,
            )  # fmt: skip
            loaded = loader.load(ends)
            meta, has_holes = work.meta(), work.has_holes()
            if has_holes:
                self._require_room(self.folder.work_file.stat().st_size)
                work.compact_into(self.folder.work_draft)
        if has_holes:
            self._swap_in()
        return loaded, meta

    def _published_edition(self) -> str | None:
        path, edition = self._published
        # One of our own that nobody has touched need not be opened to know what it holds.
        with contextlib.suppress(OSError):
            if path is not None and path == self.folder.newest() and is_as_published(path, is_read=False):
                return edition
        return published_edition(self.folder)

    def _opened(self, take: Take, ends: Ends) -> WorkFile:
        work = open_work_file(self.folder.work_file, take)
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
        with self.folder.work_draft.open("rb") as file:
            os.fsync(file.fileno())
        self.folder.work_draft.chmod(0o600)
        # The copy holds what a log that could not be written into the file holds.
        remove_work_file_log(self.folder.work_file)
        self.folder.work_draft.replace(self.folder.work_file)
        sync_folder(self.folder.work_folder)

    def _require_room(self, needed_bytes: int) -> None:
        require_room(self.folder.path, needed_bytes + _FIXED_BYTES, reserve_bytes=self._reserve_bytes)
