"""`teknav audit snapshot`, and the scheduler's duty beside it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from teknav_ops.settings import Settings
from teknav_ops.snapshots import duty as duty_module
from teknav_ops.snapshots.duty import SnapshotDuty
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.storage.database import Database
from tests.snapshots.rows import NOON, run, store
from tests.support import warm_python
from tests.support.databases import migrate


def teknav(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")}
    return warm_python.run(
        [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", "audit", "snapshot", *arguments],
        env={**environment, "TEKNAV_DATA_DIR": str(data_dir)}, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip


def test_the_command_exports_says_what_it_did_and_does_nothing_twice(tmp_path: Path) -> None:
    url = Settings(data_dir=tmp_path).sql_url
    migrate(url)
    database = Database.open(url)
    store(database, [run(NOON, 1.0)] * 3)
    database.dispose()

    first = teknav(tmp_path)
    again = teknav(tmp_path, "--json")
    anew = teknav(tmp_path, "--rebuild", "--json")

    assert first.returncode == 0, first.stderr
    assert "audit-00000001.duckdb: 3 new rows" in first.stdout and "3 rows in all" in first.stdout
    told = json.loads(again.stdout)
    assert told["path"] is None and told["added"] == 0 and told["newest"].endswith("audit-00000001.duckdb")
    told = json.loads(anew.stdout)
    assert told["path"].endswith("audit-00000002.duckdb") and told["added"] == 3


def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path) -> None:
    migrate(Settings(data_dir=tmp_path).sql_url)
    code = """
from teknav_ops.cli.app import main
from teknav_ops.snapshots.export import Exporter
Exporter.__init__.__kwdefaults__["reserve_bytes"] = 10**18
main()
"""
    answer = warm_python.run(
        [sys.executable, "-c", code, "audit", "snapshot"], env={**os.environ, "TEKNAV_DATA_DIR": str(tmp_path)},
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip

    assert answer.returncode == 2 and answer.stderr.startswith("error: snapshot_dir: "), answer.stderr
    assert "Traceback" not in answer.stderr


@pytest.fixture
def duty(sqlite_database: Database, tmp_path: Path) -> SnapshotDuty:
    return SnapshotDuty(Settings(data_dir=tmp_path), sqlite_database)


def test_the_duty_publishes_when_there_is_something_new(
    sqlite_database: Database, duty: SnapshotDuty, folder: Path
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 3)

    assert duty.step() is False
    assert duty.step() is False

    assert [number for number, _ in SnapshotFolder(folder).generations()] == [1]


def test_the_duty_steps_aside_for_another_exporter(duty: SnapshotDuty, folder: Path) -> None:
    with SnapshotFolder(folder).locked():
        assert duty.step() is False
    assert SnapshotFolder(folder).newest() is None
    duty.step()
    assert SnapshotFolder(folder).newest() is not None


def test_a_first_load_that_takes_long_is_done_in_steps(
    sqlite_database: Database, duty: SnapshotDuty, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 3)
    monkeypatch.setattr(duty_module, "_STEP_SECONDS", 0.0)

    assert duty.step() is True
    assert SnapshotFolder(folder).newest() is None
    monkeypatch.undo()
    assert duty.step() is False
    assert SnapshotFolder(folder).newest() is not None


def test_without_the_extra_the_duty_says_so_once_and_nothing_else_needs_it(tmp_path: Path) -> None:
    code = """
import sys
sys.modules["duckdb"] = None
from pathlib import Path
from teknav_ops.settings import Settings
from teknav_ops.snapshots.duty import SnapshotDuty
import teknav_ops.runtime.scheduler
from teknav_ops.cli.commands import PLACES, LazyCommands
list(LazyCommands(PLACES).values())
duty = SnapshotDuty(Settings(data_dir=Path(sys.argv[1])), None)
duty.step()
duty.step()
assert not {"pandas", "pyarrow"} & set(sys.modules), "imported without need"
try:
    import teknav_ops.snapshots.open
except Exception as error:
    print(type(error).__name__, error)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=90, check=False
    )

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.count("snapshot.none") == 1
    assert "InvalidRequest duckdb is missing: pip install 'teknav-ops[snapshots]'" in answer.stdout
