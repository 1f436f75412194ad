"""Burn rates against the workbook's own figures."""

from __future__ import annotations

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.burn_rate import (
    DAY_SECONDS,
    HOUR_SECONDS,
    WORKBOOK_WINDOWS,
    BurnWindow,
    EventCounts,
    assess,
    burn_rate,
    seconds_to_exhaustion,
)

PER_MINUTE = 1_000


def history(*phases: tuple[int, float]) -> list[EventCounts]:
    """Minutes, oldest first: (how many, error rate)."""
    return [EventCounts(PER_MINUTE, round(PER_MINUTE * rate)) for minutes, rate in phases for _ in range(minutes)]


def windows(minutes: list[EventCounts]) -> dict[int, EventCounts]:
    lengths = {seconds for window in WORKBOOK_WINDOWS for seconds in (window.long_seconds, window.short_seconds)}
    found = {}
    for seconds in lengths:
        last = minutes[-seconds // 60 :]
        found[seconds] = EventCounts(sum(m.total_count for m in last), sum(m.bad_count for m in last))
    return found


def firing(minutes: list[EventCounts], objective: float = 0.999) -> list[BurnWindow]:
    return [finding.window for finding in assess(windows(minutes), objective=objective) if finding.is_firing]


def test_the_windows_spend_what_the_workbook_says() -> None:
    spent = [window.factor * window.long_seconds / (30 * DAY_SECONDS) for window in WORKBOOK_WINDOWS]

    assert spent == pytest.approx([0.02, 0.05, 0.10])
    assert [window.long_seconds / window.short_seconds for window in WORKBOOK_WINDOWS] == [12, 12, 12]


@pytest.mark.parametrize(
    ("error_rate", "hours"), [(0.001, 720), (0.002, 360), (0.0144, 50), (1.0, 0.72)]
)  # workbook, table 5-4: burn rates and the time to exhaustion of a 99.9 % objective
def test_exhaustion_comes_when_the_workbook_says(error_rate: float, hours: float) -> None:
    burn = burn_rate(EventCounts(10_000, round(10_000 * error_rate)), objective=0.999)

    assert burn is not None
    assert seconds_to_exhaustion(burn) == pytest.approx(hours * HOUR_SECONDS)


def test_a_total_outage_pages_within_a_minute_and_the_page_ends_after_the_short_window() -> None:
    healthy, fast = (3 * 24 * 60, 0.0), WORKBOOK_WINDOWS[0]

    # (1 - objective) / error rate * window * factor = 0.864 minutes.
    assert fast not in firing(history(healthy))
    assert fast in firing(history(healthy, (1, 1.0)))
    assert fast in firing(history(healthy, (3, 1.0), (4, 0.0)))
    assert fast not in firing(history(healthy, (3, 1.0), (5, 0.0)))


def test_a_slow_leak_is_a_ticket_and_no_page() -> None:
    found = firing(history((3 * 24 * 60, 0.0015)))

    assert [window.severity for window in found] == ["ticket"]


def test_a_leak_below_the_objective_is_nothing() -> None:
    assert firing(history((3 * 24 * 60, 0.0005))) == []


def test_few_events_do_not_fire_whatever_became_of_them() -> None:
    counts = {seconds: EventCounts(99, 99) for seconds in windows(history((1, 0.0)))}

    assert all(finding.is_too_few and not finding.is_firing for finding in assess(counts, objective=0.99))
    assert any(finding.is_firing for finding in assess(counts, objective=0.99, least_event_count=99))


def test_no_events_are_no_burn() -> None:
    assert burn_rate(EventCounts(0, 0), objective=0.99) is None
    found = assess({s: EventCounts(0, 0) for s in windows(history((1, 0.0)))}, objective=0.99, least_event_count=0)
    assert not any(finding.is_firing for finding in found)
    assert seconds_to_exhaustion(0.0) == float("inf")
    assert seconds_to_exhaustion(2.0, budget_left=0.5) == 7.5 * DAY_SECONDS


def test_wrong_input_is_named() -> None:
    with pytest.raises(InvalidRequest, match="objective"):
        burn_rate(EventCounts(1, 0), objective=1.0)
    with pytest.raises(InvalidRequest, match="window of 300 s is missing"):
        assess({HOUR_SECONDS: EventCounts(1, 0)}, objective=0.99, windows=[WORKBOOK_WINDOWS[0]])
