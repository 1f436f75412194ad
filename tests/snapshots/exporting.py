"""Exporters and readers that run as processes of their own. They say on standard output how far they have come."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import duckdb

from teknav_ops.errors import SnapshotDiskFull
from teknav_ops.snapshots import publish, source
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.open import open_snapshot
from teknav_ops.storage.database import Database


def say(words: object) -> None:
    """A line that whoever waits for it sees at once."""
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def export_for_ever(url: str, folder: Path) -> None:
    """Export in small bites, again and again, until killed; says each bite and each end."""
    source.CHUNK_IDS = 200
    whole = source.Source.between

    def between(self: source.Source, *args: Any) -> Any:
        say("bite")
        return whole(self, *args)

    source.Source.between = between  # type: ignore[method-assign]
    exporter = Exporter(Database.open(url), folder)
    while True:
        exporter.export(wait_seconds=10)
        say("end")


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
    elif moment == "before the seal has its name":
        Path.replace = die  # type: ignore[method-assign]
    elif moment == "before the rename":
        Path.rename = die  # type: ignore[method-assign]
    elif moment == "before the folder is synced":
        publish.sync_folder = die
    Exporter(Database.open(url), folder).export()


def export_when_told(url: str, folder: Path) -> None:
    """Export once a line comes in; says how many rows it added and whether it published."""
    database = Database.open(url)
    say("ready")
    sys.stdin.readline()
    done = Exporter(database, folder).export(wait_seconds=60)
    say(json.dumps([done.added, done.path is not None]))
    database.dispose()


def export_with_small_files(url: str, folder: Path, limit_bytes: int) -> None:
    """Export where every file ends at this size, as on a disk that is full; says what came of it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    database = Database.open(url)
    try:
        Exporter(database, folder).export()
        say("exported")
    except SnapshotDiskFull as error:
        say(error)
    database.dispose()


def hold_open(path: Path) -> None:
    """Have a DuckDB file open until standard input ends."""
    with duckdb.connect(str(path), read_only=True):
        say("open")
        sys.stdin.read()


def read_until(folder: Path, stop: Path) -> None:
    """Open, check and close in a tight loop until the file `stop` is there; says each new number of rows it sees.

    The last line is how often it read, and what was wrong.
    """
    reads, newest = 0, -1
    wrong: list[Any] = []
    while not stop.exists():
        with open_snapshot(folder) as snapshot:
            counted = snapshot.cursor().execute("select count(*), count(distinct id), max(id) from audit").fetchone()
            meta = snapshot.meta
        if counted[:2] != (meta.row_count, meta.row_count) or (counted[2] or 0) > meta.watermark:
            wrong.append((counted, str(meta)))
        if meta.row_count < newest:
            wrong.append(("went back", newest, meta.row_count))
        if meta.row_count != newest:
            say(meta.row_count)
        newest = meta.row_count
        reads += 1
    say(json.dumps([reads, wrong]))
