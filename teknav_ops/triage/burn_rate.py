"""SLO burn rates: how fast the error budget goes, over two windows at once.

Source: The Site Reliability Workbook, chapter 5, "Alerting on SLOs" (multiwindow, multi-burn-rate alerts, table 5-8).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from teknav_ops.errors import InvalidRequest

MINUTE_SECONDS: Final = 60
HOUR_SECONDS: Final = 3_600
DAY_SECONDS: Final = 86_400
#: Over how long the objective is promised; the workbook's factors belong to it.
PERIOD_SECONDS: Final = 30 * DAY_SECONDS

Severity = Literal["page", "ticket"]


@dataclasses.dataclass(frozen=True, slots=True)
class EventCounts:
    """What happened in one window: `bad_count` of `total_count` events broke the objective."""

    total_count: int
    bad_count: int


@dataclasses.dataclass(frozen=True, slots=True)
class BurnWindow:
    """An alert condition: the budget burns `factor` times too fast over the long window, and still does in the short.

    The long window shows that it matters, the short one that it has not ended.
    """

    severity: Severity
    long_seconds: int
    short_seconds: int
    factor: float


#: The workbook's: 2 % of a 30-day budget in an hour, 5 % in six hours, 10 % in three days.
WORKBOOK_WINDOWS: Final = (
    BurnWindow("page", HOUR_SECONDS, 5 * MINUTE_SECONDS, 14.4),
    BurnWindow("page", 6 * HOUR_SECONDS, 30 * MINUTE_SECONDS, 6.0),
    BurnWindow("ticket", 3 * DAY_SECONDS, 6 * HOUR_SECONDS, 1.0),
)


@dataclasses.dataclass(frozen=True, slots=True)
class BurnFinding:
    """One window looked at. Burns are None without events; `budget_spent` is the share that the long window cost."""

    window: BurnWindow
    long_burn: float | None
    short_burn: float | None
    event_count: int
    budget_spent: float
    is_firing: bool
    is_too_few: bool


def burn_rate(counts: EventCounts, *, objective: float) -> float | None:
    """Times faster than allowed at which the error budget is used up; None without events.

    `error rate / (1 - objective)`: at 1 the budget lasts exactly the period, at 14.4 a 30-day budget is gone in 50 h.
    """
    _require_objective(objective)
    if counts.total_count == 0:
        return None
    return counts.bad_count / counts.total_count / (1 - objective)


def seconds_to_exhaustion(burn: float, *, budget_left: float = 1.0) -> float:
    """How long what is left of the budget (a share, 0 to 1) lasts at this burn; infinite at 0."""
    return float("inf") if burn <= 0 else budget_left * PERIOD_SECONDS / burn


def assess(
    counts: Mapping[int, EventCounts],
    *,
    objective: float,
    least_event_count: int = 100,
    windows: Sequence[BurnWindow] = WORKBOOK_WINDOWS,
) -> list[BurnFinding]:
    """Look at each window. `counts` maps a window's length in seconds, up to now, to what happened in it.

    Fewer than `least_event_count` events in the long window never fire: one failure of two jobs is no trend.

    Raises:
        InvalidRequest: the objective is not between 0 and 1, or a window's counts are missing.
    """
    _require_objective(objective)
    return [_assess(window, counts, objective, least_event_count) for window in windows]


def _assess(
    window: BurnWindow, counts: Mapping[int, EventCounts], objective: float, least_event_count: int
) -> BurnFinding:
    long, short = (_counts_of(counts, seconds) for seconds in (window.long_seconds, window.short_seconds))
    long_burn, short_burn = (burn_rate(each, objective=objective) for each in (long, short))
    is_too_few = long.total_count < least_event_count
    is_burning = min(long_burn or 0.0, short_burn or 0.0) >= window.factor
    return BurnFinding(
        window=window,
        long_burn=long_burn,
        short_burn=short_burn,
        event_count=long.total_count,
        budget_spent=(long_burn or 0.0) * window.long_seconds / PERIOD_SECONDS,
        is_firing=is_burning and not is_too_few,
        is_too_few=is_too_few,
    )


def _counts_of(counts: Mapping[int, EventCounts], seconds: int) -> EventCounts:
    if seconds not in counts:
        raise InvalidRequest(f"counts: the window of {seconds} s is missing")
    return counts[seconds]


def _require_objective(objective: float) -> None:
    if not 0 < objective < 1:
        raise InvalidRequest(f"objective: {objective} must lie between 0 and 1, such as 0.99")
