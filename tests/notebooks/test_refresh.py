"""A workbench asks the newest snapshot in each cell, and one snapshot throughout a cell or an unattended run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.settings import Settings
from teknav_ops.snapshots.export import Exporter
from teknav_ops.workbench import Workbench


@pytest.fixture
def publish(bench: Workbench) -> Callable[[], None]:
    """Something happens, and a snapshot of it is published."""

    def happen() -> None:
        with OperatorLog(bench.database).record("queue.paused", actor="sara", queue="email:send"):
            pass
        Exporter.from_settings(bench.settings, bench.database).export(wait_seconds=20)

    return happen


@pytest.fixture
def shell(bench: Workbench, publish: Callable[[], None]) -> Iterator[Any]:
    from IPython.core.interactiveshell import InteractiveShell

    made = InteractiveShell.instance()
    made.user_ns |= {"bench": bench, "publish": publish}
    yield made
    InteractiveShell.clear_instance()


def cell(shell: Any, code: str) -> None:
    shell.run_cell(code, store_history=True).raise_error()


def test_each_cell_asks_the_newest_and_all_of_it_the_same(
    shell: Any, bench: Workbench, publish: Callable[[], None]
) -> None:
    publish()
    cell(shell, "before, at = bench.snapshot.path, bench.as_of; publish(); within = bench.snapshot.path")
    seen = shell.user_ns
    assert seen["before"] == seen["within"]
    # What stands under a chart is when its numbers are of, also in a cell that asks nothing.
    cell(shell, "under = bench.as_of")
    assert seen["under"] == seen["at"]

    cell(shell, "after = bench.snapshot.path")
    assert seen["after"] != seen["before"]
    cell(shell, "window = bench.last(hours=1); same = bench.snapshot.path")
    assert seen["same"] == seen["after"]
    cell(shell, "same = bench.snapshot.path; publish(); told = bench.refresh(); newest = bench.snapshot.path")
    assert seen["newest"] != seen["same"] and seen["told"] == bench.as_of


def test_an_unattended_run_and_a_program_keep_their_first_until_they_ask(
    shell: Any, bench: Workbench, settings: Settings, publish: Callable[[], None]
) -> None:
    publish()
    report = Workbench(settings.model_copy(update={"report_run": True}))
    shell.user_ns["bench"] = report
    cell(shell, "first = bench.snapshot.path; publish()")
    cell(shell, "second = bench.snapshot.path; bench.refresh(); third = bench.snapshot.path")

    seen = shell.user_ns
    assert seen["first"] == seen["second"] != seen["third"]
    report.snapshot.close()


@pytest.mark.parametrize("outcome", ["completed", "failed", "any"])
def test_durations_of_each_outcome_can_be_asked_for(
    bench: Workbench, publish: Callable[[], None], outcome: Any
) -> None:
    publish()
    assert bench.history("email:send", hours=1, outcome=outcome).runs.sum() == 0
    assert bench.compare_windows("email:send", hours=1, baseline_hours=1, outcome=outcome).outcome == outcome
