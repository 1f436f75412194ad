"""What the reference model keeps of a job, and the limits of its queue."""

from __future__ import annotations

import dataclasses

#: (action, job id, actor, attempt, delivery, waited_ms); what an entry has no word about is ''.
Entry = tuple[str, str, str, str, str, str]


@dataclasses.dataclass
class Job:
    """A job and what is known of it."""

    id: str
    name: str
    payload: str
    priority: int
    key: str
    enqueued_at: int
    state: str = "waiting"
    #: Since when it could begin, and which of those that arrived in that millisecond it is; 0 for one that fell due.
    ready: tuple[int, int] = (0, 0)
    due_at: int = 0
    lease_ends: int = 0
    worker: str = ""
    delivery: int = 0
    attempts: int = 0
    lost: int = 0
    replays: int = 0
    waited: int = 0
    marked: int = 0
    #: The batch replay that put it back, until it ends.
    batch: str = ""
    noted: int = 0
    stuck: int = 0
    away: int = 0
    throttled: int = 0
    throttled_since: int = 0
    finished_at: int = 0
    cause: tuple[str, str] = ("", "")
    #: How far it said it had come, and what it said beside.
    progress: tuple[str, str] = ("", "")
    #: What a request must say again to be the same one; an edit by an operator does not change it.
    request: tuple[str, str] = ("", "")
    is_edited: bool = False

    @property
    def turn(self) -> tuple[int, int, int, str]:
        """Jobs begin in this order."""
        return (self.priority, *self.ready, self.id)


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the topology says; control fields go before it. 0 is none."""

    global_concurrency: int = 0
    rate_count: int = 0
    rate_period_ms: int = 0
