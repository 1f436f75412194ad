"""Whatever is killed, the newest snapshot is whole, and in the end everything is in it once."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from teknav_ops.errors import NoSnapshot
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.open import open_snapshot
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.snapshots.exporting import export_and_die, export_for_ever, read_until
from tests.snapshots.rows import NOON, run, store
from tests.support.waiting import until

# A forked child has its modules loaded, so that a kill hits the export and not an import.
FORKED = multiprocessing.get_context("forkserver")
KILLS = 15


@pytest.fixture(scope="module", autouse=True)
def loaded() -> Iterator[None]:
    FORKED.set_forkserver_preload(["tests.snapshots.exporting"])
    yield


def check_newest(folder: Path) -> int:
    """Counts the newest snapshot's rows; it must be whole. 0 where there is none yet."""
    try:
        with open_snapshot(folder) as snapshot:
            rows, distinct = snapshot.cursor().execute("select count(*), count(distinct id) from audit").fetchone()
            assert rows == distinct == snapshot.meta.row_count
            return int(rows)
    except NoSnapshot as error:
        assert "none in" in str(error)
        return 0


def url_of(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_an_exporter_that_is_killed_again_and_again(database: Database, folder: Path) -> None:
    chance, seen = random.Random(11), 0
    for _ in range(KILLS):
        store(database, [run(NOON, 1.0)] * 1_000)
        started = FORKED.Event()
        process = FORKED.Process(target=export_for_ever, args=(url_of(database), folder, started))
        process.start()
        assert started.wait(60)
        # The moment of the kill is what is varied; nothing waits for it.
        time.sleep(chance.uniform(0, 0.4))
        process.kill()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        rows = check_newest(folder)
        assert rows >= seen, "the newest snapshot went back"
        seen = rows

    Exporter(database, folder).export()

    with database.session() as session:
        assert check_newest(folder) == session.scalar(select(func.count(AuditLog.id))) == KILLS * 1_000
    assert not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize("moment", ["half a copy", "before the rename", "before the folder is synced"])
def test_a_kill_while_publishing_leaves_the_newest_snapshot_whole(
    sqlite_database: Database, folder: Path, moment: str
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 10)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    store(sqlite_database, [run(NOON, 1.0)] * 10)
    process = FORKED.Process(target=export_and_die, args=(url_of(sqlite_database), folder, moment))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL

    is_published = moment == "before the folder is synced"
    assert check_newest(folder) == (20 if is_published else 10)
    assert bool(list(folder.glob(".tmp-*"))) is not is_published

    # All rows are in the work file by now: what was not published is published next, without any new row.
    assert (exporter.export().path is None) is is_published
    assert check_newest(folder) == 20 and not list(folder.glob(".tmp-*"))


def test_readers_see_whole_snapshots_while_others_are_published_and_collected(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teknav_ops.snapshots import folder as folder_module

    # Old ones go at once, so that readers meet that too.
    monkeypatch.setattr(folder_module, "GRACE_SECONDS", 0.0)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    stop, results, seen = FORKED.Event(), FORKED.Queue(), FORKED.Array("q", [-1] * 3)
    readers = [FORKED.Process(target=read_until, args=(folder, stop, seen, number, results)) for number in range(3)]
    for reader in readers:
        reader.start()
    until(lambda: min(seen) >= 0, seconds=60, what="the first reads")
    for _ in range(20):
        store(sqlite_database, [run(NOON, 1.0)] * 500)
        exporter.export()
    until(lambda: min(seen) == 10_000, seconds=60, what="the last snapshot")
    stop.set()
    told = [results.get(timeout=60) for _ in readers]
    for reader in readers:
        reader.join(30)

    for reads, wrong in told:
        assert reads > 1 and not wrong
    assert len(SnapshotFolder(folder).generations()) <= 4
