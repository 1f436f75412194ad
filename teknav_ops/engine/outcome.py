"""What becomes of a job after a run: exactly one of these is committed per delivery."""

from __future__ import annotations

import dataclasses

from teknav_ops.redis_state.scripts import Series


@dataclasses.dataclass(frozen=True, slots=True)
class Complete:
    """It succeeded. `result` is the summary as JSON, '' for none."""

    result: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Postpone:
    """It runs again after `delay_ms`; a snooze uses no attempt. Of a `series` only so many may come in a row."""

    delay_ms: int
    uses_attempt: bool
    exception: BaseException
    series: Series = ""


@dataclasses.dataclass(frozen=True, slots=True)
class GiveUp:
    """It goes to the dead letters."""

    exception: BaseException


Outcome = Complete | Postpone | GiveUp
