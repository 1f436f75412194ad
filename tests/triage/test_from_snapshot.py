"""Triage over a real snapshot."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any, get_args

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.triage.from_snapshot import compare_windows, what_changed
from tests.snapshots.conftest import SnapshotOf
from tests.snapshots.rows import NOON, after, event, failure, run

BEFORE = (after(hours=-1), NOON)
WINDOW = (NOON, after(hours=1))


def runs(begin: datetime, count: int, factor: float = 1.0, **facts: Any) -> list[dict[str, Any]]:
    chance = random.Random(f"{begin} {factor}")
    step = timedelta(hours=1) / count
    return [run(begin + number * step, factor * chance.lognormvariate(4, 0.8), **facts) for number in range(count)]


def test_two_windows_of_a_queue_are_compared(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of([
        *runs(BEFORE[0], 1_200), *runs(WINDOW[0], 1_200, 1.8),
        *runs(BEFORE[0], 50, job_name="rare"), *runs(WINDOW[0], 50, job_name="rare"),
    ])  # fmt: skip

    slower = compare_windows(snapshot, "mail", WINDOW, BEFORE)

    assert (slower.verdict, slower.baseline_count, slower.window_count) == ("slower", 1_250, 1_250)
    assert slower.ratio_low is not None and 1.2 < slower.ratio_low < 1.8
    assert compare_windows(snapshot, "mail", WINDOW, BEFORE, job_name="rare").verdict == "too few"
    assert compare_windows(snapshot, "nobody", WINDOW, BEFORE).words == "too few: n=0 before, 0 now"


def test_an_outage_is_not_faster(snapshot_of: SnapshotOf) -> None:
    """Most of it fails at once, and what still completes takes three times as long."""
    snapshot = snapshot_of([
        *runs(BEFORE[0], 5_000), *[failure(after(minutes=-1))] * 5,
        *runs(WINDOW[0], 1_100, 3.0), *[failure(NOON, duration_ms=5.0) for _ in range(20_000)],
    ])  # fmt: skip

    found = compare_windows(snapshot, "mail", WINDOW, BEFORE)

    assert (found.verdict, found.baseline_count, found.window_count) == ("slower", 5_000, 1_100)
    assert found.ratio is not None and 2.5 < found.ratio < 3.5
    assert found.error_rates is not None and found.error_rates.has_moved
    assert found.words.startswith("errors moved: error rate 0.1% before, 94.8% now (n=5,005 and 21,100); of the runs")
    of_all = compare_windows(snapshot, "mail", WINDOW, BEFORE, outcome="any")
    assert of_all.verdict == "errors moved" and "faster" not in of_all.words and "of all runs: p95 ×0." in of_all.words


def test_an_outage_in_which_hardly_anything_completes_is_said_all_the_same(snapshot_of: SnapshotOf) -> None:
    snapshot = snapshot_of([*runs(BEFORE[0], 2_000), *[failure(NOON) for _ in range(1_940)], *runs(WINDOW[0], 60, 3.0)])

    found = compare_windows(snapshot, "mail", WINDOW, BEFORE)

    assert found.verdict == "too few"
    assert found.words.startswith("errors moved: error rate 0.0% before, 97.0% now")


def test_runs_of_another_outcome_are_compared_where_they_are_asked_for(snapshot_of: SnapshotOf) -> None:
    """What fails has come to time out: it takes ten times as long."""
    snapshot = snapshot_of(
        [
            *runs(BEFORE[0], 1_200),
            *runs(WINDOW[0], 1_200),
            *[failure(after(minutes=-number / 60), duration_ms=500.0) for number in range(1, 1_201)],
            *[failure(after(minutes=number / 60), duration_ms=5_000.0) for number in range(1_200)],
        ]
    )

    found = {
        outcome: compare_windows(snapshot, "mail", WINDOW, BEFORE, outcome=outcome) for outcome in get_args(RunOutcome)
    }

    assert {outcome: each.window_count for outcome, each in found.items()} == {
        "completed": 1_200,
        "failed": 1_200,
        "any": 2_400,
    }
    assert found["failed"].verdict == "slower" and found["failed"].ratio == 10
    assert found["completed"].verdict == "no difference shown"


def test_an_incident_is_told_from_what_was_before(snapshot_of: SnapshotOf) -> None:
    def workers(at: datetime, count: int) -> dict[str, Any]:
        return event(at, "queue.metrics", detail={"stats": {"workers": count}})

    snapshot = snapshot_of([
        *[failure(after(minutes=-30), "OldError")] * 20,
        *runs(after(hours=-1), 600), *runs(NOON, 150),
        *[failure(after(minutes=minute % 60), "NewError") for minute in range(450)],
        *[failure(after(minutes=5), "OldError")],
        *[run(after(minutes=1), 5.0, queue="sms", job_name="text") for _ in range(3)],
        workers(after(minutes=-10), 2), workers(after(minutes=10), 2), workers(after(minutes=50), 0),
        event(after(minutes=20), "queue.paused", actor="sara", outcome="done"),
        event(after(minutes=-20), "queue.configured", actor="sara", outcome="done"),
    ])  # fmt: skip

    found = what_changed(snapshot, NOON, after(hours=1), before=timedelta(hours=1))

    changes = {(change.kind, change.queue): change for change in found.changes}
    assert found.changes[0].words == "mail: new cause NewError f-NewError, 450 times: NewError happened"
    assert changes["error rate", "mail"].after == 451 / 601
    assert changes["completions", "mail"].words.startswith("mail send: completions ×0.25")
    assert changes["workers", "mail"].words == "mail: 2 to 0 worker processes"
    assert changes["new job", "sms"].after == 3
    assert sum(change.kind == "new cause" for change in found.changes) == 1
    assert [action["action"] for action in found.operator_actions] == ["queue.paused"]


def test_an_empty_snapshot_has_no_changes(snapshot_of: SnapshotOf) -> None:
    found = what_changed(snapshot_of(), NOON, after(hours=1))

    assert found.changes == [] and found.operator_actions == []


@pytest.mark.parametrize(
    ("since", "until", "more", "field"),
    [
        (None, None, {}, "since"),
        (NOON, None, {}, "until"),
        (None, NOON, {}, "since"),
        ("yesterday", NOON, {}, "since"),
        (NOON.replace(tzinfo=None), after(hours=1), {}, "since"),
        (after(hours=1), NOON, {}, "since"),
        (NOON, NOON, {}, "since"),
        (NOON, after(hours=1), {"before": timedelta(0)}, "before"),
        (NOON, after(hours=1), {"before": timedelta(hours=-1)}, "before"),
        (NOON, after(hours=1), {"before": 3}, "before"),
    ],
)
def test_a_window_that_is_none_is_refused_by_name(
    snapshot_of: SnapshotOf, since: Any, until: Any, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{field}: "):
        what_changed(snapshot_of(), since, until, **more)
