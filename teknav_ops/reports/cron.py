"""Cron's five fields in the site's time zone, told by APScheduler. Needs the `lab` extra."""

from __future__ import annotations

import itertools
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from teknav_ops.errors import InvalidRequest

_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY: Final = re.compile(r"(\*|\w{1,3})(?:-(\w{1,3}))?(?:/(\d{1,2}))?")
#: So many times are looked at to find the longest pause between two.
_PERIODS: Final = 8
_SPANS: Final = (timedelta(minutes=15), timedelta(hours=6))
#: No zone has ever moved its clock by more.
_LONGEST_JUMP: Final = timedelta(hours=26)
#: What is not due by then never is: a 29 February comes at least every eight years.
_FAR: Final = datetime(2400, 1, 1, tzinfo=UTC)


class Cron:
    """When a report is due."""

    def __init__(self, expression: str, zone: str) -> None:
        """Raises InvalidRequest: the expression is wrong, or the extra is missing."""
        try:
            from apscheduler.triggers.cron import CronTrigger
        except ModuleNotFoundError as error:
            raise InvalidRequest(f"{error.name} is missing: pip install 'teknav-ops[lab]'") from error

        fields = expression.split()
        if len(fields) != 5:
            raise InvalidRequest(
                f"cron: {expression!r} must have five fields: minute hour day month weekday, such as `0 8 * * mon-fri`"
            )
        minute, hour, day, month, weekday = fields
        if day != "*" and weekday != "*":
            # Cron would take either, the trigger both: neither is what everybody expects.
            raise InvalidRequest(f"cron: {expression!r}: give the day of the month or the weekday, not both")
        try:
            # Of the clock on the wall, which is taken for UTC here: what the zone makes of it is told below.
            self._trigger: Any = CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=UTC,
                end_date=_FAR,
            )  # fmt: skip
        except ValueError as error:
            raise InvalidRequest(f"cron: {expression!r}: {error}") from None
        self._zone = ZoneInfo(zone)
        # `*/2` is a wildcard to cron, too.
        self._is_frequent = "*" in (minute[0], hour[0]) or _is_every_hour(self._trigger)
        if self.next_after(datetime.now(UTC)) is None:
            raise InvalidRequest(f"cron: {expression!r} is never due: no month it names has such a day")

    def last_before(self, now: datetime, *, within: timedelta) -> datetime | None:
        """The latest time up to `now`; None when there was none in the span before it."""
        # From near to far: of what comes each minute, a week is ten thousand times.
        for span in (*(each for each in _SPANS if each < within), within):
            found, at = None, self.next_after(now - span)
            while at is not None and at <= now:
                found, at = at, self._following(at)
            if found is not None:
                return found
        return None

    def next_after(self, now: datetime) -> datetime | None:
        """When it is due next, be it now, in UTC; by the rules of cron(8) where the site's clock jumps.

        What has times of its own is due once: in the first of two equal hours, and at the end of an hour that is
        left out. What comes every hour, or every few hours or minutes (`*/2`), goes by the clock: in both, and
        not at all.
        """
        now = now.astimezone(UTC)
        found, wall = None, self._wall_at_least(now)
        while (wall := self._trigger.get_next_fire_time(None, wall)) is not None:
            instants = self._instants(wall)
            found = min([at for at in instants if at >= now] + ([found] if found else []), default=None)
            if found is not None and (not self._is_frequent or min(instants, default=found) >= found):
                return found
            wall += timedelta(microseconds=1)
        return found

    def _wall_at_least(self, now: datetime) -> datetime:
        """The earliest time on the wall that may still be due: around a jump, what it shows before or after that."""
        around = (now - _LONGEST_JUMP, now, now + _LONGEST_JUMP)
        offsets = [at.astimezone(self._zone).utcoffset() or timedelta() for at in around]
        return now + min(offsets)

    def _instants(self, wall: datetime) -> list[datetime]:
        """When the wall shows this time; the end of the jump for one that it leaves out."""
        naive = wall.replace(tzinfo=None)
        both = [naive.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        is_left_out = both[0].astimezone(self._zone).replace(tzinfo=None, fold=0) != naive
        if is_left_out:
            return [] if self._is_frequent else [self._end_of_jump(both[1], both[0])]
        return sorted(set(both)) if self._is_frequent else [both[0]]

    def _end_of_jump(self, before: datetime, after: datetime) -> datetime:
        """The first moment of the new offset, to the second, between a moment before the jump and one after it."""
        old = before.astimezone(self._zone).utcoffset()
        while after - before > timedelta(seconds=1):
            middle = before + (after - before) / 2
            is_before = middle.astimezone(self._zone).utcoffset() == old
            before, after = (middle, after) if is_before else (before, middle)
        return after.replace(microsecond=0)

    def longest_period(self, now: datetime) -> timedelta | None:
        """The longest pause between two of the next times, such as over a weekend; None when there are no two."""
        times = [self.next_after(now)]
        while len(times) < _PERIODS and times[-1] is not None:
            times.append(self._following(times[-1]))
        known = [at for at in times if at is not None]
        return max((later - earlier for earlier, later in itertools.pairwise(known)), default=None)

    def _following(self, at: datetime) -> datetime | None:
        return self.next_after(at.astimezone(UTC) + timedelta(microseconds=1))


def _is_every_hour(trigger: Any) -> bool:
    """Whether each hour of a day that counts has a time of its own."""
    midnight = datetime(2026, 1, 1, tzinfo=UTC)
    field = next(field for field in trigger.fields if field.name == "hour")
    return all(field.get_next_value(midnight.replace(hour=hour)) == hour for hour in range(24))


def _weekdays(field: str) -> str:
    """As names: cron counts from Sunday, the trigger from Monday."""
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.lower().split(","):
        match = _DAY.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no weekday: mon, 1, mon-fri or 1-5")
        first, last, step = match[1], match[2], int(match[3] or 1)
        start, end = (0, 6) if first == "*" else (_day(first), _day(last) if last else _day(first))
        if match[3] and not last and first != "*":
            end = 6
        if step < 1:
            raise ValueError(f"{part!r}: a step must be 1 or more")
        end += 7 if end < start else 0
        days |= {day % 7 for day in range(start, end + 1, step)}
    return ",".join(_DAYS[day] for day in sorted(days))


def _day(text: str) -> int:
    if text.isdigit() and int(text) <= 7:
        return int(text) % 7
    if text in _DAYS:
        return _DAYS.index(text)
    raise ValueError(f"{text!r} is no weekday: mon, 1, mon-fri or 1-5")
