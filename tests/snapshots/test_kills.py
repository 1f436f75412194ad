"""Whatever is killed, the newest snapshot is whole, and in the end everything is in it once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
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
from tests.support.scale import scaled
from tests.support.waiting import until
from tests.support.warm_python import start_function

KILLS = scaled(6)


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


@pytest.mark.each_database
def test_an_exporter_that_is_killed_again_and_again(database: Database, folder: Path) -> None:
    chance, seen = random.Random(11), 0
    for _ in range(KILLS):
        store(database, [run(NOON, 1.0)] * 1_000)
        process = start_function(export_for_ever, url_of(database), folder, stdout=subprocess.PIPE)
        # How far it has come when it is killed is what is varied: in any bite, or between two exports.
        assert process.stdout and all(process.stdout.readline() for _ in range(chance.randint(1, 9)))
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
        process.stdout.close()
        rows = check_newest(folder)
        assert rows >= seen, "the newest snapshot went back"
        seen = rows

    Exporter(database, folder).export()

    with database.session() as session:
        assert check_newest(folder) == session.scalar(select(func.count(AuditLog.id))) == KILLS * 1_000
    assert not list(folder.glob(".tmp-*"))


@pytest.mark.parametrize(
    "moment", ["half a copy", "before the seal has its name", "before the rename", "before the folder is synced"]
)
def test_a_kill_while_publishing_leaves_the_newest_snapshot_whole(
    sqlite_database: Database, folder: Path, moment: str
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 10)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    store(sqlite_database, [run(NOON, 1.0)] * 10)
    process = start_function(export_and_die, url_of(sqlite_database), folder, moment)
    assert process.wait(60) == -signal.SIGKILL

    is_published = moment == "before the folder is synced"
    assert check_newest(folder) == (20 if is_published else 10)
    assert bool(list(folder.glob(".tmp-*"))) is not is_published

    # All rows are in the work file by now: what was not published is published next, without any new row.
    assert (exporter.export().path is None) is is_published
    assert check_newest(folder) == 20 and not list(folder.glob(".*.*"))


def test_readers_see_whole_snapshots_while_others_are_published_and_collected(
    sqlite_database: Database, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teknav_ops.snapshots import folder as folder_module

    # Old ones go at once, so that readers meet that too.
    monkeypatch.setattr(folder_module, "GRACE_SECONDS", 0.0)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    stop, outputs = tmp_path / "stop", [tmp_path / f"reader-{number}" for number in range(2)]
    readers = []
    for output in outputs:
        with output.open("w") as file:
            readers.append(start_function(read_until, folder, stop, stdout=file))

    def seen(output: Path) -> list[int]:
        return [int(line) for line in output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    until(lambda: all(map(seen, outputs)), seconds=60, what="the first reads")
    rounds = scaled(6)
    for _ in range(rounds):
        store(sqlite_database, [run(NOON, 1.0)] * 200)
        exporter.export()
    until(lambda: all(seen(output)[-1] == rounds * 200 for output in outputs), seconds=60, what="the last snapshot")
    stop.touch()
    assert [reader.wait(60) for reader in readers] == [0, 0]

    for output in outputs:
        reads, wrong = json.loads(output.read_text().splitlines()[-1])
        assert reads > 1 and not wrong
    assert len(SnapshotFolder(folder).generations()) <= 4
