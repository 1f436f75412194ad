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
            self._trigger: Any = CronTrigger(
                minute=minute, hour=hour, day=day, month=month, day_of_week=_weekdays(weekday), timezone=ZoneInfo(zone)
            )
        except ValueError as error:
            raise InvalidRequest(f"cron: {expression!r}: {error}") from None
        self._is_hourly = hour.startswith("*")

    def last_before(self, now: datetime, *, within: timedelta) -> datetime | None:
        """The latest time up to `now`; None when there was none in the span before it."""
        found, at = None, self.next_after(now - within)
        while at is not None and at <= now:
            found, at = at, self._following(at)
        return found

    def next_after(self, now: datetime) -> datetime | None:
        """When it is due next, be it now. In UTC: on the site's clock, a moment later may be an hour earlier."""
        at: datetime | None = self._trigger.get_next_fire_time(None, now.astimezone(UTC))
        if at is None:
            return None
        # Where the clock goes back, an hour comes twice. What has an hour of its own is due in the first, as in cron.
        is_again = at.fold and not self._is_hourly
        return self._following(at) if is_again else at.astimezone(UTC)

    def longest_period(self, now: datetime) -> timedelta | None:
        """The longest pause between two of the next times, such as over a weekend; None when there are no two."""
        times = [self.next_after(now)]
        while len(times) < _PERIODS and times[-1] is not None:
            times.append(self._following(times[-1]))
        known = [at for at in times if at is not None]
        return max((later - earlier for earlier, later in itertools.pairwise(known)), default=None)

    def _following(self, at: datetime) -> datetime | None:
        return self.next_after(at.astimezone(UTC) + timedelta(microseconds=1))


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
