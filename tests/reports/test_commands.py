"""`teknav report`, from outside."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_cli import Teknav, environment, teknav
from tests.support import warm_python
from tests.support.http_receiver import HttpReceiver
from tests.support.waiting import ANSWER_SECONDS

pytestmark = pytest.mark.timeout(240)

__all__ = ["environment", "teknav"]


@pytest.fixture(autouse=True)
def _own_notebooks(environment: dict[str, str], notebooks: Path) -> None:
    environment["TEKNAV_NOTEBOOKS_DIR"] = str(notebooks)
    environment[warm_python.EXECUTABLE_VARIABLE] = warm_python.executable()


def test_a_report_is_run_listed_and_shown(teknav: Teknav) -> None:
    assert "not run yet" in teknav("report", "list").stdout
    assert "has not been run yet" in teknav("report", "history", "charts").stdout

    ran = teknav("report", "run", "charts", "--param", "days=2", "-p", "dead_letters=4")

    assert ran.returncode == 0 and "runs (" not in ran.stderr, ran.stderr
    assert "status      ok" in ran.stdout and "dead letters: 4 jobs (at most 10)" in ran.stdout
    page = Path(next(line.split()[1] for line in ran.stdout.splitlines() if line.startswith("page")))
    assert page.is_file() and page.name == "report.html"
    shown = json.loads(teknav("report", "show", "charts", "--json").stdout)
    assert shown["parameters"] == {"days": 2, "dead_letters": 4, "interactive": False}
    assert shown["folder"] == str(page.parent)
    (run,) = json.loads(teknav("report", "history", "charts", "--json").stdout)
    assert run["run"] == page.parent.name
    rows = {row["name"]: row for row in json.loads(teknav("report", "list", "--json").stdout)}
    assert rows["charts"]["newest"]["run"] == run["run"] and rows["failing"]["newest"] is None
    assert "days: int = 1" in rows["charts"]["parameters"] and rows["charts"]["title"] == "How many jobs of each kind?"


def test_a_notebook_that_cannot_be_used_hides_no_other(teknav: Teknav, notebooks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    shutil.copy(notebooks / "charts.ipynb", folder)
    (folder / "broken.ipynb").write_text("{")

    listed = teknav("report", "list", "--json", TEKNAV_NOTEBOOKS_DIR=str(folder))

    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows["charts"]["problem"] is None and "broken.ipynb cannot be used" in rows["broken"]["problem"]
    assert "cannot be used" in teknav("report", "list", TEKNAV_NOTEBOOKS_DIR=str(folder)).stdout


def test_a_person_at_a_terminal_sees_that_it_runs(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", "report", "run", "typed"]
    process = warm_python.Process(command, env={**environment, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    seen = b""
    # Linux ends a terminal that nobody holds with an error.
    with contextlib.suppress(OSError):
        while piece := os.read(ours, 4096):
            seen += piece
    os.close(ours)
    said, _ = process.communicate(timeout=ANSWER_SECONDS)

    assert process.returncode == 0 and b"status      ok" in said
    assert b"typed runs (" in seen and b"typed runs (" not in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("charts", "-p", "dead_letters=12"), 3, "dead letters: 12 is more than 10"),
        (("failing",), 1, "RuntimeError: the third wheel came off"),
        (("typed", "-p", "hors=1"), 2, "Did you mean hours?"),
        (("typed", "-p", "hours=many"), 2, "'many' is not a whole number"),
        (("typed", "-p", "hours"), 2, "name=value"),
        (("chart",), 2, "did you mean charts?"),
        (("typed", "--mail", "nobody"), 2, "--mail or --webhook"),
        (("weekly", "--as-scheduled"), 2, "no entry 'weekly'; there are: none"),
    ],
)
def test_the_exit_code_says_how_it_ended(teknav: Teknav, arguments: tuple[str, ...], code: int, words: str) -> None:
    ended = teknav("report", "run", *arguments)
    assert ended.returncode == code, ended.stderr
    # Lines may be broken anywhere.
    assert words.replace(" ", "") in "".join((ended.stdout + ended.stderr).split())
    assert "Traceback" not in ended.stderr


def test_what_cron_runs_does_as_the_schedule_says(teknav: Teknav) -> None:
    with HttpReceiver() as receiver:
        entry = {"name": "typed", "key": "weekly", "params": {"hours": 6}, "deliver": {"webhook": receiver.url}}
        ran = teknav("report", "run", "weekly", "--as-scheduled", "--json", TEKNAV_REPORT_SCHEDULES=json.dumps([entry]))

    assert ran.returncode == 0, ran.stderr
    meta = json.loads(ran.stdout)
    assert (meta["schedule"], meta["parameters"]["hours"]) == ("weekly", 6)
    assert [to["status"] for to in meta["deliveries"]] == ["sent"]
    assert json.loads(receiver.requests[0].body)["data"]["run"] == meta["run"]


def test_a_folder_that_cannot_be_used_and_a_wrong_schedule_are_named(teknav: Teknav, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    ended = teknav("report", "run", "typed", TEKNAV_REPORT_DIR=str(tmp_path / "file"))
    assert ended.returncode == 2 and "report_dir: " in ended.stderr and "Traceback" not in ended.stderr

    wrong = json.dumps([{"name": "typed", "cron": "0 8 * * *", "params": {"hors": 1}}])
    found = {
        item["check"]: item for item in json.loads(teknav("doctor", "--json", TEKNAV_REPORT_SCHEDULES=wrong).stdout)
    }
    assert not found["reports"]["is_well"] and "param hors" in found["reports"]["seen"]
    gone = json.dumps([*json.loads(wrong), {"name": "typd", "cron": "0 9 * * *"}])
    listed = json.loads(teknav("report", "list", "--json", TEKNAV_REPORT_SCHEDULES=gone).stdout)
    problems = {row["name"]: row["problem"] for row in listed if row["problem"]}
    assert "param hors" in problems["typed"] and "did you mean typed?" in problems["typd"] and len(problems) == 2
