"""Windows: what one queue's audit entries come to, told one by one or, when they come thick, as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from teknav_ops.events.models import (
    SAMPLE_LIMIT,
    BrokenJob,
    DeadLetterAdded,
    Event,
    FinishedJob,
    JobCompleted,
    JobFailed,
    QueueConfigured,
    QueuePaused,
    QueueResumed,
    to_json,
)
from teknav_ops.events.pace import Pace

Entry = tuple[str, Mapping[str, str]]


def _finished_job(fields: Mapping[str, str]) -> FinishedJob:
    return FinishedJob(
        job_id=fields.get("job_id", ""), job=fields.get("job_name", ""),
        duration_ms=_number(fields.get("duration_ms")), trace_id=fields.get("trace_id") or None,
    )  # fmt: skip


def _broken_job(fields: Mapping[str, str]) -> BrokenJob:
    return BrokenJob(
        job_id=fields.get("job_id", ""), job=fields.get("job_name", ""), error_type=fields.get("error_type", ""),
        fingerprint=fields.get("fingerprint") or None, trace_id=fields.get("trace_id") or None,
    )  # fmt: skip


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


#: Audit action -> the event that tells it, for jobs.
_OF_JOBS: Final[dict[str, tuple[Callable[..., Event], Callable[[Mapping[str, str]], Any]]]] = {
    "job.completed": (JobCompleted, _finished_job),
    "job.failed": (JobFailed, _broken_job),
    "dlq.added": (DeadLetterAdded, _broken_job),
}
#: The same for queues. These are never told as one: each says something else. Should there be more than a sample
#: at once, the newest are told: they say how the queue is now.
_OF_QUEUES: Final[dict[str, Callable[[dict[str, Any], Mapping[str, str]], Event]]] = {
    "queue.paused": lambda common, fields: QueuePaused(**common, actor=fields.get("actor", "")),
    "queue.resumed": lambda common, fields: QueueResumed(**common, actor=fields.get("actor", "")),
    "queue.configured": lambda common, fields: QueueConfigured(
        **common, actor=fields.get("actor", ""), detail=fields.get("detail", "")
    ),
}
TOLD: Final = frozenset(_OF_JOBS) | frozenset(_OF_QUEUES)


class Window:
    """The entries of one action that have been read and not yet told."""

    __slots__ = ("count", "kept", "last")

    def __init__(self) -> None:
        self.count = 0
        #: The newest of them, with their place in the queue's order.
        self.kept: deque[tuple[int, Entry]] = deque(maxlen=SAMPLE_LIMIT)
        self.last = (0, "")

    def add(self, place: int, entry: Entry) -> None:
        """Count an entry; only the newest few are kept."""
        self.count += 1
        self.last = (place, entry[0])
        self.kept.append((place, entry))


class QueueWindows:
    """One queue's windows and the pace of each."""

    def __init__(self, queue: str, *, per_second: float) -> None:
        self._queue = queue
        self._per_second = per_second
        self._place = 0
        self._open: dict[str, Window] = {}
        self._paces: dict[str, Pace] = {}

    def add(self, entry: Entry) -> None:
        """Take in an audit entry; one that nobody is told about is passed over."""
        action = entry[1].get("action", "")
        if action in TOLD:
            self._place += 1
            self._open.setdefault(action, Window()).add(self._place, entry)

    @property
    def are_open(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._open)

    def clear(self) -> None:
        """Forget what was not told: someone else has told it."""
        self._open.clear()

    def wait_seconds(self, now_seconds: float) -> float | None:
        """How long until all of it may be told; None when there is nothing to tell."""
        if not self._open:
            return None
        return max(self._pace(action).wait_seconds(now_seconds) for action in self._open)

    def compose(self, now_seconds: float) -> list[str]:
        """The events of all open windows as JSON, in the order in which things happened."""
        placed: list[tuple[int, Event]] = []
        for action, window in self._open.items():
            pace = self._pace(action)
            is_sparse = window.count <= len(window.kept) and window.count <= pace.left(now_seconds)
            if is_sparse or action in _OF_QUEUES:
                told = [(place, self._one(action, entry)) for place, entry in window.kept]
            else:
                told = [(window.last[0], self._many(action, window))]
            pace.take(len(told))
            placed += told
        return [to_json(event) for _, event in sorted(placed, key=lambda pair: pair[0])]

    def _pace(self, action: str) -> Pace:
        return self._paces.setdefault(action, Pace(self._per_second))

    def _one(self, action: str, entry: Entry) -> Event:
        entry_id, fields = entry
        common = {"queue": self._queue, "at_ms": _at_ms(entry_id)}
        if action in _OF_QUEUES:
            return _OF_QUEUES[action](common, fields)
        event, sample = _OF_JOBS[action]
        return event(**common, count=1, jobs=(sample(fields),))

    def _many(self, action: str, window: Window) -> Event:
        event, sample = _OF_JOBS[action]
        jobs = tuple(sample(fields) for _, (_, fields) in window.kept)
        return event(queue=self._queue, at_ms=_at_ms(window.last[1]), count=window.count, jobs=jobs)


def _at_ms(entry_id: str) -> int:
    return int(entry_id.partition("-")[0])
