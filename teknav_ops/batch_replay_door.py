"""The part of the operators' door that replays dead letters in batches."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from teknav_ops.access.freshness import MANY_JOBS, require_fresh
from teknav_ops.access.policy import Operation, Operator, needs, searched_text
from teknav_ops.errors import WrongState
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.redis_state.connection import Client
from teknav_ops.replay_runner import ReplayRunner
from teknav_ops.replays import Replays, check_rate
from teknav_ops.topology import Topology


def _silent(_: Any) -> None:
    """Progress nobody watches."""


class BatchReplayDoor:
    """What `Control` offers for batch replays."""

    _client: Client
    _operator: Operator
    _replays: Replays
    _topology: Topology
    #: Told of each batch replay that is started, where this process runs some.
    replay_started: Callable[[], None] | None = None
    _recorded: Callable[..., Any]

    @needs(Operation.ACT)
    def preview_replay(
        self,
        queue: str,
        where: DeadLetterFilter,
        *,
        limit: int | None = None,
        name: str = "",
        job_ids: Sequence[str] | None = None,
    ) -> Replay:
        """Freeze the list of dead letters that a batch replay would take: all that match, or those of `job_ids`.

        Nothing is replayed yet. `limit` bounds the list to the oldest. Raises:
            NotAllowed: the filter looks into payloads, which the operator may not read.
            InvalidRequest: a limit or a name out of range.
        """
        searched_text(self._operator, where.text, queue)
        return self._replays.preview(
            self._topology[queue].name, where, limit=limit, operator=self._operator.name, name=name, job_ids=job_ids
        )

    @needs(Operation.ACT)
    def start_replay(self, queue: str, replay_id: str, *, rate_per_second: float | None = None) -> Replay:
        """Let a server process replay a previewed list. Starting again is the same run; a new rate takes effect.

        Raises:
            WrongState: it was aborted.
        """
        before = self._replays.get(self._topology[queue].name, replay_id)
        if before.state == "finished":
            return before
        if before.total_count > MANY_JOBS:
            require_fresh(self._operator)
        details = {"replay": replay_id, "name": before.name, "total": before.total_count, "rate": rate_per_second}
        with self._recorded("dlq.replay_started", queue, **details) as entry:
            changed = self._replays.start(
                queue, replay_id, actor=self._operator.name, rate_per_second=rate_per_second
            )  # fmt: skip
            entry.note(changed=changed)
        if self.replay_started is not None:
            self.replay_started()
        return self._replays.get(queue, replay_id)

    @needs(Operation.ACT)
    def run_replay(
        self,
        queue: str,
        replay_id: str,
        *,
        rate_per_second: float | None = None,
        on_progress: Callable[[Replay], None] = _silent,
        runner: ReplayRunner | None = None,
        stopped: threading.Event | None = None,
    ) -> Replay:
        """Replay a previewed list in this thread, or take one up again that was interrupted.

        That it was started is recorded before; that it came to its end, once, by whoever brought it there.

        Raises:
            WrongState: it has ended. InvalidRequest: the rate is out of range.
        """
        if rate_per_second is not None:
            check_rate(rate_per_second)
        if runner is None:
            if self._replays.get(self._topology[queue].name, replay_id).state == "finished":
                raise WrongState(f"replay: {replay_id} is finished; preview a new one")
            self.start_replay(queue, replay_id, rate_per_second=rate_per_second)
        runner = runner or ReplayRunner(self._client, self._replays)
        replay = runner.run(queue, replay_id, actor=self._operator.name, on_progress=on_progress, stopped=stopped)
        if runner.has_finished:
            counts = {"replayed": replay.replayed_count, "skipped": replay.skipped_count}
            with self._recorded("dlq.batch_replayed", queue, replay=replay_id, state=replay.state, **counts):
                pass
        return replay

    @needs(Operation.ACT)
    def abort_replay(self, queue: str, replay_id: str) -> Replay:
        """Stop a batch replay; what was replayed stays replayed. Raises WrongState when it has finished."""
        with self._recorded("dlq.replay_aborted", self._topology[queue].name, replay=replay_id) as entry:
            entry.note(changed=self._replays.abort(queue, replay_id, actor=self._operator.name))
            return self._replays.get(queue, replay_id)
