"""What view-models ask of a system: a workbench has it, and anything else that offers the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from teknav_ops.audit.trail import AuditEntry
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.record import JobRecord
from teknav_ops.metrics.live import QueueStats
from teknav_ops.redis_state.scripts import Accepted
from teknav_ops.replays import Replays
from teknav_ops.topology import Topology

if TYPE_CHECKING:
    import pandas


class Door(Protocol):
    """The part of the operators' door that triage uses. Each call is authorised and recorded behind it."""

    def preview_replay(
        self,
        queue: str,
        where: DeadLetterFilter,
        *,
        limit: int | None = ...,
        name: str = "",
        job_ids: Sequence[str] | None = None,
    ) -> Replay: ...
    def run_replay(
        self, queue: str, replay_id: str, *, rate_per_second: float | None = None,
        on_progress: Callable[[Replay], None] = ..., stopped: threading.Event | None = None,
    ) -> Replay: ...  # fmt: skip
    def abort_replay(self, queue: str, replay_id: str) -> Replay: ...
    def purge(self, queue: str, *, confirmation: str, on_progress: Callable[[int], None] = ...) -> int: ...
    def retry(self, queue: str, job_id: str) -> None: ...
    def promote(self, queue: str, job_id: str) -> None: ...
    def cancel(self, queue: str, job_id: str) -> None: ...
    def run_again(self, queue: str, job_id: str) -> Accepted: ...
    def pause(self, queue: str) -> bool: ...
    def resume(self, queue: str) -> bool: ...


class Told(Protocol):
    """What happened to a job, or to the jobs of a trace."""

    @property
    def words(self) -> str: ...
    @property
    def records(self) -> Sequence[JobRecord]: ...
    @property
    def entries(self) -> Sequence[AuditEntry]: ...
    def attempts(self) -> list[str]: ...
    def payloads(self) -> list[str]: ...


class Bench(Protocol):
    """Where queues, jobs and dead letters are read, and the door, which may refuse to be opened (NotAllowed)."""

    @property
    def topology(self) -> Topology: ...
    @property
    def dead_letters(self) -> DeadLetterQueries: ...
    @property
    def replays(self) -> Replays: ...
    @property
    def jobs(self) -> JobQueries: ...
    @property
    def control(self) -> Door: ...
    def queue_stats(self) -> dict[str, QueueStats]: ...
    def history(
        self, queue: str, *, hours: float = ..., step_minutes: int = ..., by_job: bool = ...
    ) -> pandas.DataFrame: ...
    def story(self, job: str = "") -> Told: ...
