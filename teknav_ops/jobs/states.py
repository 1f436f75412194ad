"""The states of a job and the moves between them; `docs/job-lifecycle.md` draws this table."""

from __future__ import annotations

import enum
from types import MappingProxyType
from typing import Final, Literal

#: Which runs a duration is of. A run that was retried failed, as one that ended in a dead letter did.
RunOutcome = Literal["completed", "failed", "any"]


class JobState(enum.StrEnum):
    """Where a job stands. A paused queue's waiting jobs are still `waiting` on their record."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


#: (from, to) -> the scripts that make the move. `None` is a job not yet accepted.
MOVES: Final = MappingProxyType(
    {
        (None, JobState.WAITING): ("enqueue",),
        (None, JobState.DELAYED): ("enqueue",),
        (JobState.WAITING, JobState.ACTIVE): ("fetch",),
        (JobState.DELAYED, JobState.WAITING): ("fetch", "promote"),
        (JobState.ACTIVE, JobState.COMPLETED): ("complete",),
        (JobState.ACTIVE, JobState.DELAYED): ("postpone",),
        (JobState.ACTIVE, JobState.FAILED): ("dead_letter",),
        (JobState.ACTIVE, JobState.WAITING): ("release", "reclaim"),
        (JobState.FAILED, JobState.WAITING): ("replay_dead_letters",),
        (JobState.WAITING, JobState.CANCELLED): ("cancel",),
        (JobState.DELAYED, JobState.CANCELLED): ("cancel",),
    }
)
