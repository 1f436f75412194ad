"""When reports are due: cron's rules, in the site's time zone, also where its clock jumps."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.reports.cron import Cron

TEHRAN = "Asia/Tehran"
#: A Wednesday.
NOON = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


def next_times(expression: str, zone: str, count: int, begin: datetime = NOON) -> list[datetime]:
    cron, at, found = Cron(expression, zone), begin, []
    for _ in range(count):
        due = cron.next_after(at)
        assert due is not None
        found.append(due)
        at = due + timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("expression", "first_two"),
    [
        ("*/20 * * * *", ["25 12:00", "25 12:20"]),
        ("5 * * * *", ["25 12:05", "25 13:05"]),
        ("0 8 * * *", ["26 04:30", "27 04:30"]),
        ("0 8 1 * *", ["01 04:30", "01 04:30"]),
        ("30 16 * * wed", ["25 13:00", "02 13:00"]),
    ],
)
def test_a_time_is_one_of_the_sites_clock(expression: str, first_two: list[str]) -> None:
    zone = "UTC" if expression.startswith(("*", "5")) else TEHRAN
    assert [f"{at.astimezone(UTC):%d %H:%M}" for at in next_times(expression, zone, 2)] == first_two


@pytest.mark.parametrize(
    ("field", "meant"),
    [
        ("0", "sun"), ("7", "sun"), ("1-5", "mon tue wed thu fri"), ("mon-fri", "mon tue wed thu fri"),
        ("sat,sun", "sun sat"), ("fri-mon", "sun mon fri sat"), ("*/2", "sun tue thu sat"), ("2/2", "tue thu sat"),
        ("1-5/2", "mon wed fri"), ("6-7", "sun sat"), ("THU", "thu"),
    ],
)  # fmt: skip
def test_weekdays_are_counted_as_cron_does(field: str, meant: str) -> None:
    fortnight = {DAYS[(at.weekday() + 1) % 7] for at in next_times(f"0 12 * * {field}", "UTC", 7)}
    assert fortnight == set(meant.split())


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 8 * *", "must have five fields"), ("0 8 * * * *", "must have five fields"),
        ("61 8 * * *", "61"), ("0 8 * * noday", "no weekday"), ("0 8 * * 8", "no weekday"),
        ("0 8 1 * mon", "the day of the month or the weekday, not both"), ("0 8 * * mon/0", "a step must be 1 or more"),
        ("", "must have five fields"),
    ],
)  # fmt: skip
def test_what_is_no_cron_is_refused_with_what_is_wrong(expression: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match="cron: ") as refused:
        Cron(expression, TEHRAN)
    assert problem in str(refused.value)


def test_the_last_time_before_now_is_told_within_a_span_only() -> None:
    cron = Cron("0 * * * *", "UTC")

    assert cron.last_before(NOON, within=timedelta(minutes=15)) == NOON
    assert cron.last_before(NOON + timedelta(minutes=14), within=timedelta(minutes=15)) == NOON
    assert cron.last_before(NOON + timedelta(minutes=16), within=timedelta(minutes=15)) is None
    # Of several missed ones, the last.
    assert cron.last_before(NOON + timedelta(minutes=70), within=timedelta(hours=5)) == NOON + timedelta(hours=1)


def test_the_longest_pause_is_the_weekends() -> None:
    assert Cron("0 8 * * mon-fri", "UTC").longest_period(NOON) == timedelta(days=3)
    assert Cron("0 8 * * *", TEHRAN).longest_period(NOON) == timedelta(days=1)


@pytest.mark.parametrize("before", [datetime(2026, 10, 23, tzinfo=UTC), datetime(2027, 3, 26, tzinfo=UTC)])
def test_a_night_whose_clock_jumps_has_each_time_once(before: datetime) -> None:
    """Berlin leaves summer time on 2026-10-25 at 03:00, and enters it on 2027-03-28 at 02:00."""
    berlin = ZoneInfo("Europe/Berlin")
    found = [at.astimezone(berlin) for at in next_times("30 2 * * *", "Europe/Berlin", 4, before)]
    assert [at.date() - found[0].date() for at in found] == [timedelta(days=day) for day in range(4)]

    # What comes each hour comes in both.
    hourly = next_times("0 * * * *", "Europe/Berlin", 80, before)
    assert {later - earlier for earlier, later in itertools.pairwise(hourly)} == {timedelta(hours=1)}
