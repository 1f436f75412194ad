"""What runs that ended in the middle left behind: it is published masked and whole, and stops no other."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from teknav_ops.durable_files import write_whole
from teknav_ops.reports import runner as runner_module
from teknav_ops.reports.runner import Runner
from teknav_ops.reports.runs import Order, RunMeta, new_run
from teknav_ops.reports.store import LOG, META, NOTEBOOK, PAGE, ReportStore
from teknav_ops.reports.workroom import EXECUTED, TEMPORARY, Workroom


@pytest.fixture
def room(tmp_path: Path) -> Workroom:
    return Workroom(tmp_path / "reports", slot_count=1)


@pytest.fixture
def runner(room: Workroom, tmp_path: Path) -> Runner:
    return Runner(room, wall_seconds=60, data_dir=tmp_path)


def left_by_a_dead_runner(room: Workroom, name: str = "health") -> tuple[Path, Order]:
    """A run whose notebook had said a password."""
    now = datetime.now(UTC)
    order = Order(
        name=name,
        run=new_run(now),
        title="Health",
        notebook="health.ipynb",
        parameters={},
        who="sara",
        started_at=now,
        cell_seconds=60,
        start_seconds=60,
    )
    with room.folder(order) as folder:
        (folder / TEMPORARY).mkdir()
        (folder / LOG).write_text("a shell said password=hunter2 past the kernel\n")
        said = new_output("stream", text="password=hunter2 of the run\n")
        cell = new_code_cell("tell()", outputs=[said])
        nbformat.write(new_notebook(cells=[cell]), folder / TEMPORARY / EXECUTED)
    return folder, order


def texts(folder: Path) -> str:
    return "".join(path.read_text() for path in folder.iterdir())


def test_it_is_published_with_what_it_said_masked(room: Workroom, runner: Runner) -> None:
    _, order = left_by_a_dead_runner(room)

    assert [meta.status for meta in runner.clear_leftovers()] == ["killed"]

    published = ReportStore(room.root).folder(order.name, order.run)
    assert {path.name for path in published.iterdir()} == {NOTEBOOK, PAGE, META, LOG}
    assert "of the run" in (published / PAGE).read_text() and "hunter2" not in texts(published)


def test_what_could_not_be_masked_is_not_published(
    room: Workroom, runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, order = left_by_a_dead_runner(room)
    # The process that masks is killed, as one that takes all the memory, or too long.
    command = [sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]
    killed = SimpleNamespace(**vars(subprocess) | {"run": lambda _, **more: subprocess.run(command, check=False)})
    monkeypatch.setattr(runner_module, "subprocess", killed)

    runner.clear_leftovers()

    published = ReportStore(room.root).folder(order.name, order.run)
    assert "hunter2" not in texts(published) and not (published / NOTEBOOK).exists()
    assert "the process that ran this report died" in (published / PAGE).read_text()


def test_a_runner_that_died_before_the_page_leaves_one_all_the_same(room: Workroom, runner: Runner) -> None:
    folder, order = left_by_a_dead_runner(room)
    write_whole(folder / META, RunMeta.of(order).ended("ok").model_dump_json())

    assert [meta.status for meta in runner.clear_leftovers()] == ["ok"]

    published = ReportStore(room.root).folder(order.name, order.run)
    assert "of the run" in (published / PAGE).read_text() and "hunter2" not in texts(published)


def test_of_a_log_of_megabytes_the_end_is_published_masked(room: Workroom, runner: Runner) -> None:
    folder, order = left_by_a_dead_runner(room)
    (folder / LOG).write_text("password=" + "ض" * 1_000_000 + "\nthe last password=hunter2 line\n")

    runner.clear_leftovers()

    log = ReportStore(room.root).file(order.name, order.run, LOG)
    assert log.stat().st_size < 500_000 and log.read_text().startswith("(what came before was left out)\n")
    assert "the last password=•••• line" in log.read_text()


def test_one_that_cannot_be_published_keeps_no_other_from_it(room: Workroom, runner: Runner) -> None:
    first, stuck = left_by_a_dead_runner(room, "a-first")
    _, order = left_by_a_dead_runner(room, "b-second")
    # Somebody made a file where the folder of its report would be.
    (room.root / stuck.name).write_text("mine")

    assert [meta.name for meta in runner.clear_leftovers()] == [order.name]
    assert first.is_dir()

    (room.root / stuck.name).unlink()
    assert [meta.name for meta in runner.clear_leftovers()] == [stuck.name]


def test_one_whose_lock_cannot_be_opened_is_left_alone(room: Workroom, runner: Runner) -> None:
    folder, _ = left_by_a_dead_runner(room, "a-first")
    _, order = left_by_a_dead_runner(room, "b-second")
    # As with another user's, which nobody can open; tests may run as root, who can.
    (folder / ".lock").unlink()
    (folder / ".lock").mkdir()

    assert [meta.name for meta in runner.clear_leftovers()] == [order.name]
