"""How a look at a step may end: done, pending, or given up; and what may have gone wrong with a child job."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

from teknav_ops.errors import PermanentError, TransientError


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """The step has an output."""

    output: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Pending:
    """The step waits; look again at `until`."""

    until: datetime

    @classmethod
    def later(cls, since: datetime, now: datetime, *, least_seconds: float, most_seconds: float) -> Pending:
        """Look again in a while: the longer something has taken since it began, the longer the pause."""
        seconds = min(max((now - since).total_seconds() / 4, least_seconds), most_seconds)
        return cls(now + timedelta(seconds=seconds))


class ChildFailed(TransientError):
    """The job that the step enqueued went to the dead letters. The step may be tried again with a new one."""


class ChildCancelled(PermanentError):
    """An operator took out the job that the step enqueued."""


class ChildLost(PermanentError):
    """No trace is left of the job that the step enqueued, so nobody can say whether it ran."""


class StepTimedOut(TransientError):
    """The step took longer than its `timeout_seconds`."""


class StepGaveUp(Exception):
    """A step has failed for good; without a path, the run itself has."""

    def __init__(self, path: str | None, error_type: str, error: str) -> None:
        super().__init__(f"{path}: {error_type}: {error}")
        self.path = path
        self.error_type = error_type
        self.words = error
