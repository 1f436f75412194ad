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


@pytest.mark.parametrize(
    ("zone", "day"),
    [
        ("America/Santiago", datetime(2026, 9, 6)), ("Africa/Cairo", datetime(2026, 4, 24)),
        ("Asia/Beirut", datetime(2026, 3, 29)), ("America/Havana", datetime(2026, 3, 8)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("expression", ["0 0 * * *", "30 0 * * *", "15 0 * * *"])
def test_a_day_without_midnight_has_its_report_as_the_clock_has_jumped(
    zone: str, day: datetime, expression: str
) -> None:
    begin = (day - timedelta(days=1)).replace(tzinfo=ZoneInfo(zone))
    found = [at.astimezone(ZoneInfo(zone)) for at in next_times(expression, zone, 3, begin)]

    assert [at.date() for at in found] == [(day + timedelta(days=n)).date() for n in (-1, 0, 1)]
    assert (found[1].hour, found[1].minute) == (1, 0)


def test_what_has_times_at_both_ends_of_a_jump_is_due_once() -> None:
    begin = datetime(2027, 3, 27, 12, tzinfo=UTC)
    found = [at.astimezone(ZoneInfo("Europe/Berlin")) for at in next_times("0 2,3 * * *", "Europe/Berlin", 3, begin)]
    assert [f"{at:%d %H}" for at in found] == ["28 03", "29 02", "29 03"]


@pytest.mark.parametrize(
    ("expression", "count"),
    [("*/15 * * * *", 16), ("*/15 0-23 * * *", 16), ("0,15,30,45 * * * *", 16), ("*/15 0-12 * * *", 16),
     ("0 * * * *", 4), ("0 0-23 * * *", 4), ("0 0-4 * * *", 3), ("30 2 * * *", 1), ("0 */2 * * *", 2),
     ("30 */2 * * *", 2), ("0 0,2,4 * * *", 1)],
)  # fmt: skip
def test_the_long_night_has_what_is_frequent_in_both_hours(expression: str, count: int) -> None:
    """Four hours of Berlin's clock, from 01:00 to 04:00 in the night of 2026-10-25."""
    begin, end = datetime(2026, 10, 24, 23, tzinfo=UTC), datetime(2026, 10, 25, 3, tzinfo=UTC)
    found = next_times(expression, "Europe/Berlin", 20, begin)
    assert sum(at < end for at in found) == count and found == sorted(set(found))


@pytest.mark.parametrize(
    ("expression", "times"),
    [
        ("*/30 * * * *", ["01:00", "01:30", "03:00", "03:30"]),
        ("*/30 0-4 * * *", ["01:00", "01:30", "03:00", "03:30"]),
        ("0 */2 * * *", ["04:00", "06:00"]),
        ("0 0,2,4 * * *", ["03:00", "04:00"]),
    ],
)
def test_what_is_frequent_is_not_made_up_for_a_jump(expression: str, times: list[str]) -> None:
    begin = datetime(2027, 3, 28, 0, tzinfo=UTC)
    found = next_times(expression, "Europe/Berlin", len(times), begin)
    assert [f"{at.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}" for at in found] == times


@pytest.mark.parametrize(("zone", "hour"), [("Pacific/Apia", "31 00:00"), ("Australia/Lord_Howe", "05 02:30")])
def test_other_jumps(zone: str, hour: str) -> None:
    """Samoa left out the whole of 2011-12-30; Lord Howe moves its clock by half an hour."""
    begin = datetime(2011, 12, 29, 12, tzinfo=UTC) if zone == "Pacific/Apia" else datetime(2026, 10, 3, tzinfo=UTC)
    expression = "0 0 * * *" if zone == "Pacific/Apia" else "15 2 * * *"
    if zone == "Australia/Lord_Howe":
        hour = "04 02:30"
    assert f"{next_times(expression, zone, 1, begin)[0].astimezone(ZoneInfo(zone)):%d %H:%M}" == hour


@pytest.mark.parametrize("expression", ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31 2 *"])
def test_what_is_never_due_is_refused(expression: str) -> None:
    with pytest.raises(InvalidRequest, match="is never due"):
        Cron(expression, TEHRAN)
    assert Cron("0 0 29 2 *", TEHRAN).next_after(NOON) is not None
