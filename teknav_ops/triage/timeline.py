"""A job's time: when it waited and when it ran, worked out from what the audit trail says of each run's end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

Part = Literal["waited", "ran"]

#: Entries that end a run.
ENDINGS: Final = ("job.completed", "job.retried", "job.failed")


class Entry(Protocol):
    """What is needed of an audit entry."""

    @property
    def at(self) -> datetime: ...
    @property
    def action(self) -> str: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def job_name(self) -> str | None: ...
    @property
    def queue(self) -> str | None: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def duration_ms(self) -> float | None: ...
    @property
    def waited_ms(self) -> float | None: ...
    @property
    def error_type(self) -> str | None: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Stretch:
    """One stretch of a job's time. `outcome` is how the run ended; a wait has that of the run it came before."""

    job_id: str
    job_name: str
    queue: str
    attempt: int | None
    part: Part
    since: datetime
    until: datetime
    outcome: str
    error_type: str | None


def stretches(entries: Iterable[Entry]) -> list[Stretch]:
    """Waits and runs, in the order of time. A run whose duration nobody knows (its worker was lost) is left out."""
    found = [
        stretch for entry in entries if entry.action in ENDINGS and entry.job_id for stretch in _of_ending(entry)
    ]  # fmt: skip
    return sorted(found, key=lambda stretch: (stretch.since, stretch.until))


def _of_ending(entry: Entry) -> list[Stretch]:
    if entry.duration_ms is None:
        return []
    begun = entry.at - timedelta(milliseconds=entry.duration_ms)
    outcome = entry.action.removeprefix("job.")
    same = (entry.job_id or "", entry.job_name or "?", entry.queue or "?", entry.attempt)
    run = Stretch(*same, "ran", begun, entry.at, outcome, entry.error_type)
    if not entry.waited_ms:
        return [run]
    ready = begun - timedelta(milliseconds=entry.waited_ms)
    return [Stretch(*same, "waited", ready, begun, outcome, entry.error_type), run]
