"""A workbench asks the newest snapshot in each cell, and one snapshot throughout a cell or an unattended run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.errors import InvalidRequest, UnknownQueue
from teknav_ops.settings import Settings
from teknav_ops.snapshots.export import Exporter
from teknav_ops.workbench import Workbench, connect


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


def test_a_snapshot_that_somebody_kept_can_be_asked_when_a_newer_one_has_come(
    shell: Any, bench: Workbench, publish: Callable[[], None]
) -> None:
    publish()
    cell(shell, "from teknav_ops.snapshots import questions; kept = bench.snapshot; publish()")
    cell(shell, "now = len(bench.operator_actions()); before = len(questions.operator_actions(kept))")

    assert (shell.user_ns["before"], shell.user_ns["now"]) == (1, 2)


WRONG: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    *(
        (name, ("email:send",), {"hours": wrong}, "hours: ")
        for name in ("history",)
        for wrong in (float("nan"), float("inf"), 0, -1, "3", None, True, 10**30)
    ),
    ("history", ("email:send",), {"step_minutes": float("inf")}, "step_minutes: "),
    *(
        (name, (), {"hours": wrong}, "hours: ")
        for name in ("last", "before", "width")
        for wrong in (float("nan"), -3, "x", None)
    ),
    *(
        ("compare_windows", ("email:send",), {"hours": 1, "baseline_hours": wrong}, "baseline_hours: ")
        for wrong in (float("nan"), -1, "x", 1e300)
    ),
    ("compare_windows", ("nosuch:queue",), {"hours": 1, "baseline_hours": 1}, "queue: no 'nosuch:queue'"),
    ("compare_windows", ("a\0b",), {"hours": 1, "baseline_hours": 1}, "queue: no "),
    *(("run_summary", (), {"queues": wrong}, "queues: ") for wrong in (5, ["email:send", None])),
    *(("run_summary", (), {"since": wrong}, "since: ") for wrong in ("yesterday", 5)),
    *(("p95_by_time", (), {"width": wrong}, "width: ") for wrong in (0, timedelta(0), timedelta.max, None)),
    *(("slowest_jobs", (), {"limit": wrong}, "limit: ") for wrong in ("x", float("nan"), 1.5, True, 10**30)),
]


@pytest.mark.parametrize(("name", "given", "named", "problem"), WRONG)
def test_wrong_input_is_refused_by_name(
    bench: Workbench,
    publish: Callable[[], None],
    name: str,
    given: tuple[Any, ...],
    named: dict[str, Any],
    problem: str,
) -> None:
    publish()
    with pytest.raises((InvalidRequest, UnknownQueue), match=rf"^{problem}"):
        getattr(bench, name)(*given, **named)


def test_what_is_no_name_is_no_profile() -> None:
    for wrong in (5, "a\0b", ["x"]):
        with pytest.raises(InvalidRequest, match=r"^profile: "):
            connect(wrong)  # type: ignore[arg-type]
