"""The folder of snapshots: who may look in, one exporter at a time, what is collected, and a disk that is full."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from teknav_ops.errors import SnapshotBusy, SnapshotDiskFull
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.storage.database import Database
from tests.snapshots.exporting import export_when_told, export_with_small_files, hold_open
from tests.snapshots.rows import NOON, rows_in, run, store
from tests.support.waiting import ANSWER_SECONDS
from tests.support.warm_python import start_function


def test_only_the_owner_may_look_in(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)])
    before = os.umask(0)
    try:
        Exporter(sqlite_database, folder).export()
    finally:
        os.umask(before)

    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_one_exporter_at_a_time(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    with SnapshotFolder(folder).locked():
        with pytest.raises(SnapshotBusy, match="another exporter"):
            exporter.export()
        with pytest.raises(SnapshotBusy):
            exporter.export(wait_seconds=0.1)
    assert exporter.export().path


def test_exporters_in_several_processes_take_each_row_once(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 1_000)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    url = str(sqlite_database.engine.url)
    processes = [start_function(export_when_told, url, folder, **pipes) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    done = [json.loads(process.communicate(timeout=90)[0]) for process in processes]

    assert sum(added for added, _ in done) == 1_000
    assert [is_published for _, is_published in done].count(True) == 1
    assert rows_in(folder, "select count(distinct id) from audit") == [(1_000,)]


def test_old_generations_are_collected_but_never_the_newest_three_nor_young_ones(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = Exporter(sqlite_database, folder)
    for _ in range(6):
        store(sqlite_database, [run(NOON, 1.0)])
        exporter.export()
    assert len(list(folder.glob("audit-*.duckdb"))) == 6
    long_ago = time.time() - 3_600
    for _, path in SnapshotFolder(folder).generations():
        os.utime(path, (long_ago, long_ago))
    os.utime(folder / "audit-00000002.duckdb")

    assert exporter.export().removed_generations == 2

    assert [number for number, _ in SnapshotFolder(folder).generations()] == [2, 4, 5, 6]


def test_a_clock_that_was_set_back_neither_hides_the_newest_nor_keeps_old_ones_for_good(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = Exporter(sqlite_database, folder)
    for _ in range(5):
        store(sqlite_database, [run(NOON, 1.0)])
        exporter.export()
    tomorrow = time.time() + 86_400
    for _, path in SnapshotFolder(folder).generations():
        os.utime(path, (tomorrow, tomorrow))
    store(sqlite_database, [run(NOON, 1.0)])

    newest = exporter.export().path

    assert newest == folder / "audit-00000006.duckdb" and len(rows_in(folder)) == 6
    ages = [time.time() - path.stat().st_mtime for _, path in SnapshotFolder(folder).generations()[:3]]
    assert all(age >= 0 for age in ages), "they age from now on"


def test_leftovers_of_the_dead_are_removed(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    leftovers = [folder / ".tmp-4711", folder / "work/audit.compact.duckdb", folder / "work/audit.compact.duckdb.wal"]
    for path in leftovers:
        path.write_bytes(b"half")

    exporter.export()

    assert not any(path.exists() for path in leftovers)


def test_files_are_written_for_readers_since_duckdb_1_2(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)])
    path = Exporter(sqlite_database, folder).export().path
    assert path is not None

    header = path.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    # 65 is the storage version that DuckDB 1.2 introduced.
    assert int.from_bytes(header[12:20], "little") <= 65


def test_the_work_file_in_another_programs_hands_is_named(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with start_function(hold_open, folder / "work/audit.work.duckdb", **pipes) as process:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(SnapshotBusy, match="open in another program"):
            exporter.export()
        process.communicate(timeout=30)
    exporter.export()


def test_too_little_room_is_noticed_before_anything_is_written(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    Exporter(sqlite_database, folder).export()
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    before = {path: path.read_bytes() for path in folder.glob("audit-*.duckdb")}

    with pytest.raises(SnapshotDiskFull, match=r"snapshot_dir: .* has [\d,]+ bytes free .* needs [\d,]+\."):
        Exporter(sqlite_database, folder, reserve_bytes=10**18).export()

    assert {path: path.read_bytes() for path in folder.glob("audit-*.duckdb")} == before
    assert len(rows_in(folder)) == 5
    assert Exporter(sqlite_database, folder).export().added == 5


@pytest.mark.parametrize("moment", ["work file", "copy"])
def test_a_disk_that_fills_up_leaves_every_snapshot_and_the_next_export_goes_on(
    sqlite_database: Database, folder: Path, moment: str
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    size = (folder / "work/audit.work.duckdb").stat().st_size
    rows = [run(NOON, 1.0, error_type=os.urandom(90).hex()) for _ in range(6_000)]
    store(sqlite_database, rows)
    if moment == "copy":
        # The work file has everything already; only the copy has to be made.
        exporter.export(max_seconds=None)
        newest = SnapshotFolder(folder).newest()
        assert newest is not None
        newest.unlink()
    url = str(sqlite_database.engine.url)
    process = start_function(export_with_small_files, url, folder, size + 4096, stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=ANSWER_SECONDS)

    assert said.startswith("snapshot_dir: the disk of"), said
    assert not list(folder.glob(".tmp-*"))
    assert len(rows_in(folder)) == 5
    exporter.export()
    assert rows_in(folder, "select count(*), count(distinct id) from audit") == [(6_005, 6_005)]
