"""Exporters and readers in processes of their own, to be killed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from teknav_ops.snapshots import publish, source
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.open import open_snapshot
from teknav_ops.storage.database import Database


def export_for_ever(url: str, folder: Path, started: Any) -> None:
    """Export in small bites, again and again, until killed."""
    source.CHUNK_IDS = 200
    exporter = Exporter(Database.open(url), folder)
    started.set()
    while True:
        exporter.export(wait_seconds=10)


def export_and_die(url: str, folder: Path, moment: str) -> None:
    """Export once and be killed at a certain moment."""

    def die(*_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    if moment == "half a copy":
        whole = publish._copy

        def half(work_file: Path, target: Path) -> None:
            whole(work_file, target)
            os.truncate(target, target.stat().st_size // 2)
            die()

        publish._copy = half
    elif moment == "before the rename":
        Path.rename = die  # type: ignore[method-assign]
    elif moment == "before the folder is synced":
        publish.sync_folder = die
    Exporter(Database.open(url), folder).export()


def read_until(folder: Path, stop: Any, seen: Any, number: int, results: Any) -> None:
    """Open, check and close in a tight loop; tells how many rows it saw last, how often it read, and what was wrong."""
    reads, wrong, newest = 0, [], 0
    while not stop.is_set():
        with open_snapshot(folder) as snapshot:
            counted = snapshot.cursor().execute("select count(*), count(distinct id), max(id) from audit").fetchone()
            meta = snapshot.meta
        if counted[:2] != (meta.row_count, meta.row_count) or (counted[2] or 0) > meta.watermark:
            wrong.append((counted, meta))
        if meta.row_count < newest:
            wrong.append(("went back", newest, meta.row_count))
        seen[number] = newest = meta.row_count
        reads += 1
    results.put((reads, wrong))
