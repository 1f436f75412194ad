"""Objectives: what was kept of each, how fast budgets burn, and which days were worst."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pytest

from teknav_ops.triage.burn_rate import EventCounts
from teknav_ops.triage.objectives import Objective, attainment, burns, worst_days

OBJECTIVES = [Objective("fast", 0.99, 100.0), Objective("slow", 0.9, 1_000.0), Objective("idle", 0.99, 100.0)]
NAMES = ["queue", "p95_ms", "n"]


def test_a_budget_is_the_share_that_may_fail() -> None:
    totals = pd.DataFrame(
        [
            ("fast", 1_000, 990, 5, 5, 1_010),
            ("fast", 1_005, 1_000, 5, 0, 1_020),
            ("slow", 210, 150, 50, 8, 755),
            ("elsewhere", 9, 0, 9, 0, 9),
        ],
        columns=["queue", "jobs", "completed", "failed", "open", "runs"],
    )

    durations = pd.DataFrame([("fast", 120.0, 19), ("slow", 999.0, 150), ("idle", None, 0)], columns=NAMES)
    kept = attainment(totals, durations, OBJECTIVES).set_index("queue")

    # 10 of 2,000 failed, 20 may: half the budget. 50 of 200 failed, 20 may: two and a half budgets.
    assert kept.budget_used.to_dict() == pytest.approx({"slow": 2.5, "fast": 0.5, "idle": float("nan")}, nan_ok=True)
    assert list(kept.index) == ["slow", "fast", "idle"]
    assert kept.success_share["fast"] == pytest.approx(0.995)
    assert kept.loc["slow", ["jobs", "finished", "open", "runs"]].to_list() == [210, 200, 8, 755]
    assert kept.n.to_dict() == {"slow": 150, "fast": 19, "idle": 0}
    assert kept.is_kept.to_dict() == {"slow": False, "fast": False, "idle": None}
    assert kept.words.to_dict() == {
        "slow": "budget overspent", "fast": "kept; p95 of 19 above its target", "idle": "nothing finished",
    }  # fmt: skip


def test_without_any_job_every_objective_is_still_listed() -> None:
    outcomes = pd.DataFrame(columns=["queue", "jobs", "completed", "failed", "open", "runs"])
    kept = attainment(outcomes, pd.DataFrame(columns=NAMES), OBJECTIVES)
    assert set(kept.queue) == {"fast", "slow", "idle"} and kept.budget_used.isna().all()


def test_burns_come_nearest_to_their_limit_first() -> None:
    seconds = (300, 1_800, 3_600, 21_600, 259_200)
    quiet = dict.fromkeys(seconds, EventCounts(1_000, 1))
    loud = dict.fromkeys(seconds, EventCounts(1_000, 200))

    found = burns({"fast": quiet, "slow": dict.fromkeys(seconds, EventCounts(5, 5))}, OBJECTIVES)
    assert set(found[found.queue == "slow"].state) == {"too few"} and set(found[found.queue == "fast"].state) == {
        "fine"
    }

    found = burns({"fast": loud, "slow": quiet}, OBJECTIVES)
    assert found.iloc[0].to_dict() == {
        "queue": "fast", "severity": "ticket", "window": "72 h and 6 h", "long_burn": pytest.approx(20.0),
        "short_burn": pytest.approx(20.0), "limit": 1.0, "events": 1_000, "state": "burning",
    }  # fmt: skip


def test_the_worst_days_are_those_that_took_most_of_a_budget() -> None:
    days = [datetime(2026, 11, day, tzinfo=UTC) for day in (1, 2, 3)]
    daily = pd.DataFrame(
        [(days[0], "fast", 99, 1), (days[1], "fast", 90, 10), (days[2], "fast", 100, 0), (days[1], "slow", 80, 20),
         (days[1], "slow", 0, 0)],
        columns=["at", "queue", "completed", "failed"],
    )  # fmt: skip

    worst = worst_days(daily, OBJECTIVES)

    assert list(zip(worst["at"], worst["queue"], strict=True)) == [
        (days[1], "fast"), (days[1], "slow"), (days[0], "fast"),
    ]  # fmt: skip
    assert list(worst["burn"]) == pytest.approx([10.0, 2.0, 1.0])
    assert worst_days(daily.head(0), OBJECTIVES).empty
