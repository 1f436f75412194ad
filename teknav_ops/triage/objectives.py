"""Objectives: what was promised for each queue, and what of it was kept in a window."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from teknav_ops.jobs.sketch import of_few
from teknav_ops.triage.burn_rate import BurnFinding, EventCounts, assess, burn_rate

if TYPE_CHECKING:
    import pandas

#: Below so many finished jobs a share says little.
LEAST_COUNT: Final = 100
_COLUMNS: Final = (
    "queue", "jobs", "finished", "open", "success_share", "objective", "budget_used", "p95_ms", "n", "p95_target_ms",
    "runs", "is_kept", "words",
)  # fmt: skip
_P95: Final = ("queue", "p95_ms", "n")
_COUNTED: Final = ("jobs", "completed", "failed", "open", "runs")


@dataclasses.dataclass(frozen=True, slots=True)
class Objective:
    """What is promised for a queue: the share of finished jobs that succeed, and the p95 of completed runs."""

    queue: str
    success_share: float
    p95_ms: float


def attainment(
    outcomes: pandas.DataFrame, durations: pandas.DataFrame, objectives: Iterable[Objective]
) -> pandas.DataFrame:
    """One row per objective, the fullest use of its budget first.

    `outcomes` counts jobs by arrival and final outcome, as the question job_outcomes does (rows of one queue are
    summed); `durations` holds p95_ms and n per queue, as the question p95_by_time answers for one step of completed
    runs. Answers with queue, jobs, finished, open, success_share, objective, budget_used (1 is all of it), p95_ms and
    the `n` completed runs it is of, p95_target_ms, runs (all of these jobs), is_kept and words. Shares are of the jobs
    that finished, and null where none did: a retry is no failure, and a replay no second job.
    """
    import pandas as pd

    sums = outcomes.groupby("queue")[list(_COUNTED)].sum() if len(outcomes) else pd.DataFrame()
    known = durations.dropna(subset=["p95_ms"])
    p95 = {str(queue): (float(ms), int(n)) for queue, ms, n in zip(*(known[c] for c in _P95), strict=True)}
    rows = [_row(objective, sums, *p95.get(objective.queue, (None, 0))) for objective in objectives]
    frame = pd.DataFrame(rows, columns=_COLUMNS)
    return frame.sort_values("budget_used", ascending=False, na_position="last", ignore_index=True)


def burns(
    counts: Mapping[str, Mapping[int, EventCounts]], objectives: Iterable[Objective], *,
    least_event_count: int = LEAST_COUNT,
) -> pandas.DataFrame:  # fmt: skip
    """Per queue and pair of windows: how fast the budget burns, nearest to its limit first. `counts`: per queue, per
    window in seconds.
    """
    import pandas as pd

    rows = [
        {"queue": objective.queue} | _finding(finding)
        for objective in objectives
        if objective.queue in counts
        for finding in assess(
            counts[objective.queue], objective=objective.success_share, least_event_count=least_event_count
        )
    ]  # fmt: skip
    columns = ["queue", "severity", "window", "long_burn", "short_burn", "limit", "events", "state"]
    frame = pd.DataFrame(rows, columns=columns)
    nearest = frame[["long_burn", "short_burn"]].fillna(0.0).min(axis=1) / frame["limit"]
    order = nearest.sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)


def worst_days(daily: pandas.DataFrame, objectives: Iterable[Objective], *, limit: int = 10) -> pandas.DataFrame:
    """Days that cost most of the budget. `daily`: at, queue, completed, failed. Answers with at, queue, finished,
    failed, success_share and burn (1: as much as the budget allows per day).
    """
    import pandas as pd

    promised = {objective.queue: objective.success_share for objective in objectives}
    columns = ["at", "queue", "finished", "failed", "success_share", "burn"]
    if daily.empty:
        return pd.DataFrame(columns=columns)
    days = daily.groupby(["at", "queue"], as_index=False)[["completed", "failed"]].sum()
    days = days[days["queue"].isin(list(promised)) & (days["failed"] > 0)]
    days["finished"] = days["completed"] + days["failed"]
    days["success_share"] = days["completed"] / days["finished"]
    days["burn"] = (days["failed"] / days["finished"]) / (1 - days["queue"].map(promised).astype(float))
    return days.sort_values("burn", ascending=False, ignore_index=True)[columns].head(limit)


def _row(objective: Objective, sums: pandas.DataFrame, p95_ms: float | None, n: int) -> dict[str, object]:
    known = objective.queue in sums.index
    counted = sums.loc[objective.queue].to_dict() if known else {}
    jobs, completed, failed, waiting, runs = (int(counted.get(name, 0)) for name in _COUNTED)
    finished = completed + failed
    used = burn_rate(EventCounts(finished, failed), objective=objective.success_share)
    is_slow = p95_ms is not None and p95_ms > objective.p95_ms
    is_kept = None if used is None else used <= 1 and not is_slow
    return {
        "queue": objective.queue, "jobs": jobs, "finished": finished, "open": waiting,
        "success_share": completed / finished if finished else None, "objective": objective.success_share,
        "budget_used": used,
        "p95_ms": p95_ms, "n": n, "p95_target_ms": objective.p95_ms, "runs": runs, "is_kept": is_kept,
        "words": _words(used, finished, slow_runs=n if is_slow else 0),
    }  # fmt: skip


def _words(used: float | None, finished: int, *, slow_runs: int) -> str:
    if used is None:
        return "nothing finished"
    parts = ["budget overspent" if used > 1 else "kept"]
    parts += [f"p95{of_few(slow_runs)} above its target"] if slow_runs else []
    parts += [f"few jobs: {finished:,}"] if finished < LEAST_COUNT else []
    return "; ".join(parts)


def _finding(finding: BurnFinding) -> dict[str, object]:
    window = finding.window
    state = "too few" if finding.is_too_few else "burning" if finding.is_firing else "fine"
    return {
        "severity": window.severity, "window": f"{window.long_seconds // 3600} h and {_short(window.short_seconds)}",
        "long_burn": finding.long_burn, "short_burn": finding.short_burn, "limit": window.factor,
        "events": finding.event_count, "state": state,
    }  # fmt: skip


def _short(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds >= 3600 else f"{seconds // 60} min"
