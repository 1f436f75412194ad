"""What view-models ask of a system: a workbench has it, and anything else that offers the same."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.topology import Topology


class Door(Protocol):
    """The part of the operators' door that triage uses. Each call is authorised and recorded behind it."""

    def preview_replay(
        self, queue: str, where: DeadLetterFilter, *, limit: int, name: str = "", job_ids: Sequence[str] | None = None
    ) -> Replay: ...
    def run_replay(
        self, queue: str, replay_id: str, *, rate_per_second: float | None = None,
        on_progress: Callable[[Replay], None] = ..., stopped: threading.Event | None = None,
    ) -> Replay: ...  # fmt: skip
    def abort_replay(self, queue: str, replay_id: str) -> Replay: ...
    def purge(self, queue: str, *, confirmation: str, on_progress: Callable[[int], None] = ...) -> int: ...


class Bench(Protocol):
    """Where dead letters are read, and the door, which may refuse to be opened (NotAllowed)."""

    @property
    def topology(self) -> Topology: ...
    @property
    def dead_letters(self) -> DeadLetterQueries: ...
    @property
    def control(self) -> Door: ...
