"""The folder of snapshots: immutable numbered files for readers, a private work folder, and who may write.

A file is complete as soon as its name exists, and the newest is the one with the highest number: no clock, no
pointer, no link has a say in that.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from teknav_ops.durable_files import try_lock
from teknav_ops.errors import SnapshotBusy
from teknav_ops.snapshots.seals import seal_path

KEPT_GENERATIONS: Final = 3
#: A reader may have been told a name a while ago.
GRACE_SECONDS: Final = 15 * 60.0
_NAME: Final = re.compile(r"audit-(\d{8,})\.duckdb")
_POLL_SECONDS: Final = 0.05


class SnapshotFolder:
    """Names, locks and cleans; opens no file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work_folder = path / "work"
        self.work_file = self.work_folder / "audit.work.duckdb"
        #: What is about to become the work file.
        self.work_draft = self.work_folder / "audit.compact.duckdb"

    def prepare(self) -> None:
        """Make the folders. They hold error texts: nobody else may look in."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.work_folder.mkdir(mode=0o700, exist_ok=True)

    def generations(self) -> list[tuple[int, Path]]:
        """All snapshots, oldest first."""
        try:
            found = [(_NAME.fullmatch(path.name), path) for path in self.path.iterdir()]
        except FileNotFoundError:
            return []
        return sorted((int(match[1]), path) for match, path in found if match)

    def newest(self) -> Path | None:
        """The newest snapshot."""
        generations = self.generations()
        return generations[-1][1] if generations else None

    def next_path(self) -> Path:
        """Where the next snapshot goes, and its seal: no number of which somebody has made a folder. Ask only under the
        lock.
        """
        generations = self.generations()
        first = generations[-1][0] + 1 if generations else 1
        paths = (self.path / f"audit-{number:08d}.duckdb" for number in itertools.count(first))
        return next(path for path in paths if not seal_path(path).is_dir())

    @contextlib.contextmanager
    def locked(self, *, wait_seconds: float = 0.0) -> Iterator[None]:
        """Be the only exporter; the lock goes with the process, however it ends.

        Raises:
            SnapshotBusy: another one is at work, and still was after `wait_seconds`.
        """
        self.prepare()
        deadline = time.monotonic() + wait_seconds
        descriptor = os.open(self.work_folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not try_lock(descriptor):
                if time.monotonic() >= deadline:
                    raise SnapshotBusy(f"another exporter is at work in {self.path}; it takes what is new")
                time.sleep(_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)

    def remove_leftovers(self) -> None:
        """What a killed exporter left half written. Only under the lock."""
        drafts = [*self.path.glob(".tmp-*"), *self.path.glob(".audit-*.seal.*")]
        for path in [*drafts, *self.work_folder.glob(f"{self.work_draft.name}*")]:
            path.unlink(missing_ok=True)

    def collect(self) -> int:
        """Remove old generations, never the newest three nor a young one; answers how many. Only under the lock.

        A file that seems to come from the future, since a clock was set back, begins to age now.
        """
        now, removed = time.time(), 0
        for _, path in self.generations()[:-KEPT_GENERATIONS]:
            # Elsewhere than on POSIX an open file cannot be removed: the next round tries again.
            with contextlib.suppress(OSError):
                age_seconds = now - path.stat().st_mtime
                if age_seconds < 0:
                    os.utime(path)
                elif age_seconds > GRACE_SECONDS:
                    path.unlink()
                    seal_path(path).unlink(missing_ok=True)
                    removed += 1
        return removed
