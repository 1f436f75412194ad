"""Real runs of small notebooks: whatever becomes of them is published, whole, with what they said."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from sqlalchemy import select

from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.reports import runner
from teknav_ops.reports.desk import ReportDesk
from teknav_ops.reports.runs import RunMeta
from teknav_ops.reports.store import FILES
from teknav_ops.reports.workroom import EXECUTED, TEMPORARY
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert, AuditLog
from tests.reports.conftest import Set
from tests.support import warm_python
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)

#: The notebook of a run that is under way.
_EXECUTED = f"*/{TEMPORARY}/{EXECUTED}"


def page_of(desk: ReportDesk, meta: RunMeta) -> str:
    return desk.store.file(meta.name, meta.run, "report.html").read_text()


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def open_alerts(sql: Database) -> list[tuple[str, str]]:
    with sql.reading() as session:
        rows = session.scalars(select(Alert).where(Alert.resolved_at.is_(None)))
        return [(row.rule, row.queue) for row in rows]


def test_a_run_is_published_whole_with_its_numbers_and_recorded(desk: ReportDesk, sql: Database) -> None:
    meta = desk.run("charts", {"days": "2"}, who="sara")

    assert (meta.status, meta.exit_code, meta.error) == ("ok", 0, "")
    assert [(number.name, number.value, number.at_most) for number in meta.numbers] == [
        ("completed", 1_234_567, None), ("dead letters", 3, 10),
    ]  # fmt: skip
    assert meta.parameters == {"days": 2, "interactive": False}
    assert desk.store.get("charts") == meta
    assert all(desk.store.file("charts", meta.run, name).is_file() for name in FILES)
    assert not [path for path in (desk.store.root / ".run").iterdir() if path.is_dir()]
    page = page_of(desk, meta)
    assert "hidden words" not in page and "only at a screen" not in page and "figure.update_layout" not in page
    assert "صف سرریز" in page and "elsewhere.example" not in page and 'id="kept"' in page
    assert "https://" not in page and "http://" not in page
    assert f"charts/{meta.run}/report.html" in (desk.store.root / "index.html").read_text()
    with sql.reading() as session:
        (entry,) = session.scalars(select(AuditLog).where(AuditLog.action == "report.run"))
    assert (entry.actor, entry.outcome, entry.detail["run"], entry.detail["status"]) == (
        "sara", "done", meta.run, "ok",
    )  # fmt: skip


def test_a_breached_limit_has_a_code_of_its_own_and_is_named(desk: ReportDesk, sql: Database) -> None:
    meta = desk.run("charts", {"dead_letters": 12}, who="sara")

    assert (meta.status, meta.exit_code) == ("limit", 3)
    assert meta.error == "dead letters: 12 is more than 10"
    assert [number.name for number in meta.numbers if number.is_breached] == ["dead letters"]
    assert "dead letters: 12 is more than 10" in page_of(desk, meta)
    assert open_alerts(sql) == [("report-limit", "charts")]

    # It is over when the report comes within its limits again.
    desk.run("charts", {}, who="sara")
    assert open_alerts(sql) == []


def test_a_failing_cell_leaves_the_partial_notebook_its_page_and_an_alert(desk: ReportDesk, sql: Database) -> None:
    meta = desk.run("failing", {}, who="sara")

    assert (meta.status, meta.exit_code) == ("failed", 1)
    assert meta.error == "RuntimeError: the third wheel came off"
    page = page_of(desk, meta)
    assert "before the fall" in page and "the third wheel came off" in page
    assert "before the fall" in desk.store.file("failing", meta.run, "out.ipynb").read_text()
    assert open_alerts(sql) == [("report-failed", "failing")]


def test_a_kernel_that_dies_is_told_from_a_cell_that_fails(desk: ReportDesk) -> None:
    meta = desk.run("dying", {}, who="sara")

    assert meta.status == "killed" and "was there enough memory?" in meta.error
    assert "alive" in page_of(desk, meta)


def test_types_and_the_persons_name_reach_the_notebook_which_may_replay_nothing(desk: ReportDesk) -> None:
    meta = desk.run("typed", {"hours": "6", "since": "none"}, who="sara")

    page = page_of(desk, meta)
    assert "got 6 0.5 False 'a' None" in page
    assert "who sara run True replay False" in page

    allowed = desk.run("typed", {}, who="sara", allow_replay=True)
    assert "who sara run True replay True" in page_of(desk, allowed)


def test_a_run_that_takes_too_long_is_ended_with_its_kernel_and_shows_what_it_had(
    desk: ReportDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Hours pass as soon as the notebook sleeps, and not before: however slow the machine is.
    marker, drafts = tmp_path / "marker", tmp_path / "reports" / ".run"

    def monotonic() -> float:
        return time.monotonic() + 86_400 * any(has_slept(path.read_text()) for path in drafts.glob(_EXECUTED))

    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=monotonic))

    meta = desk.run("sleeping", {"marker": str(marker), "seconds": 600}, who="sara")

    assert meta.status == "timeout" and "TEKNAV_REPORT_SECONDS" in meta.error
    until(lambda: not is_running(int(marker.read_text())), what="the kernel's end")
    assert "asleep soon" in page_of(desk, meta)


def test_a_cell_that_takes_too_long_ends_the_run_and_its_kernel(
    settings_with: Set, sql: Database, tmp_path: Path
) -> None:
    desk = ReportDesk(settings_with(report_cell_seconds=1), sql)

    meta = desk.run("sleeping", {"seconds": 600}, who="sara")

    assert meta.status == "timeout" and "TEKNAV_REPORT_CELL_SECONDS" in meta.error
    until(lambda: not kernels(tmp_path), what="the kernel's end")
    assert "TEKNAV_REPORT_CELL_SECONDS" in page_of(desk, meta)


def has_slept(saved: str) -> bool:
    """Whether the cell before the sleep has been kept, with what it printed, in however many pieces."""
    outputs = [output for cell in json.loads(saved)["cells"] for output in cell.get("outputs", [])]
    return "asleep soon" in "".join(piece for output in outputs for piece in output.get("text", []))


def kernels(data_dir: Path) -> list[int]:
    """The kernels of the system whose data lie here."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        facts = process.info
        if "ipykernel_launcher" in (facts["cmdline"] or ()):
            found += [facts["pid"]] * ((facts["environ"] or {}).get("TEKNAV_DATA_DIR") == str(data_dir))
    return found


def test_a_run_whose_runner_is_killed_is_published_as_killed_by_the_next(
    desk: ReportDesk, sql: Database, notebooks: Path, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    environment = {**os.environ, "TEKNAV_DATA_DIR": str(tmp_path), "TEKNAV_NOTEBOOKS_DIR": str(notebooks)}
    # How the report's process learns of its parent's death is the subject: it is started as everywhere.
    del environment[warm_python.EXECUTABLE_VARIABLE]
    command = ["report", "run", "sleeping", "-p", f"marker={marker}", "-p", "seconds=600"]
    main = "from teknav_ops.cli.app import main; main()"
    killed_runner = warm_python.Process([sys.executable, "-c", main, *command], env=environment)
    drafts = tmp_path / "reports" / ".run"
    (output,) = until(lambda: list(drafts.glob(_EXECUTED)), what="the first save")
    with output.open() as first_save:
        until(lambda: has_slept(output.read_text()) and marker.exists(), what="the first cells to be kept")
        # Each save is a file of its own: whoever is killed during one leaves the one before.
        assert not has_slept(first_save.read())
    (output.parents[1] / ".report.html.half").write_text("<")
    assert list(output.parent.glob("*.json")), "the kernel's connection file, which holds its key"
    killed_runner.send_signal(signal.SIGKILL)
    killed_runner.wait()
    until(lambda: not is_running(int(marker.read_text())), what="the kernel's end")

    meta = desk.run("failing", {}, who="sara")

    killed = desk.store.get("sleeping")
    assert (killed.status, killed.exit_code) == ("killed", 1) and "died" in killed.error
    assert "asleep soon" in page_of(desk, killed)
    assert not list(desk.store.file("sleeping", killed.run, "report.html").parent.glob(".*"))
    assert meta.name == "failing" and ("report-failed", "sleeping") in open_alerts(sql)
    assert not [path for path in (desk.store.root / ".run").iterdir() if path.is_dir()]


def test_two_at_once_of_the_same_report_are_two_runs(desk: ReportDesk) -> None:
    ended: list[RunMeta] = []
    threads = [
        threading.Thread(target=lambda who=who: ended.append(desk.run("typed", {}, who=who))) for who in ("sara", "ali")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {meta.who for meta in ended} == {"sara", "ali"} and {meta.status for meta in ended} == {"ok"}
    assert set(desk.store.runs("typed")) == {meta.run for meta in ended}
    index = (desk.store.root / "index.html").read_text()
    assert all(meta.run in index for meta in ended)


def test_wrong_input_runs_nothing(desk: ReportDesk, sql: Database) -> None:
    with pytest.raises(InvalidRequest, match="param hors: typed has no such parameter"):
        desk.run("typed", {"hors": 1}, who="sara")

    assert not desk.store.root.exists()
    with sql.reading() as session:
        assert session.scalars(select(AuditLog)).all() == []


def test_a_page_says_what_ended_a_run_even_where_no_notebook_was_written(
    desk: ReportDesk, notebooks: Path, tmp_path: Path, settings_with: Set, sql: Database
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    content = json.loads((notebooks / "typed.ipynb").read_text()) | {"nbformat": "four"}
    (folder / "broken.ipynb").write_text(json.dumps(content))

    meta = ReportDesk(settings_with(notebooks_dir=folder), sql).run("broken", {}, who="sara")

    assert meta.status == "failed" and meta.error
    assert "failed" in page_of(desk, meta)


def test_without_sql_a_report_runs_but_one_that_may_replay_does_not(settings_with: Set, tmp_path: Path) -> None:
    settings = settings_with()
    gone = Database.open(f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite3'}")
    try:
        desk = ReportDesk(settings, gone)
        with pytest.raises(StorageUnavailable):
            desk.run("typed", {}, who="sara", allow_replay=True)
        assert desk.store.runs("typed") == []

        assert desk.run("typed", {}, who="sara").status == "ok"
    finally:
        gone.dispose()
