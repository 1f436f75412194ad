"""Batch replays: a frozen list of dead letters, replayed at a rate, with progress and abort.

The list is resolved once, at the preview. It names each failure by job id *and* moment, so a job
that fails again meanwhile is not replayed a second time. The list and the place reached in it are
in Redis: a replay whose process dies is taken up where it stopped.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from teknav_ops.errors import InvalidRequest, UnknownJob, WrongState
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter, DeadLetterQueries
from teknav_ops.jobs.record import moment
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner

#: A batch larger than this is a purge of patience: split it by error type or time.
REPLAY_LIMIT: Final = 100_000
_KEPT_SECONDS: Final = 7 * 24 * 3600
_CHUNK: Final = 100

ReplayState = Literal["previewed", "running", "finished", "aborted"]


class Replay(BaseModel):
    """A batch replay: what it will do, and how far it has come."""

    model_config = ConfigDict(frozen=True)

    id: str
    queue: str
    operator: str
    state: ReplayState
    created_at: datetime
    total_count: int
    done_count: int = 0
    replayed_count: int = 0
    counts_by_error_type: dict[str, int] = {}

    @property
    def skipped_count(self) -> int:
        """Dead letters that were gone, or had failed anew, when their turn came."""
        return self.done_count - self.replayed_count


class Replays:
    """Creates, runs and aborts batch replays. Operators come through `control.py`."""

    def __init__(self, client: Client, queries: DeadLetterQueries) -> None:
        self._client = client
        self._queries = queries
        self._runner = ScriptRunner(client)

    def preview(self, queue: str, where: DeadLetterFilter, *, limit: int, operator: str) -> Replay:
        """Freeze up to `limit` matching dead letters, oldest first. Nothing is replayed yet."""
        if not 1 <= limit <= REPLAY_LIMIT:
            raise InvalidRequest(f"limit: {limit} is not between 1 and {REPLAY_LIMIT:,}")
        found = self._queries.ids(queue, where, limit=limit)
        replay_id = secrets.token_hex(6)
        keys = QueueKeys(queue)
        facts: dict[str, Any] = {
            "operator": operator,
            "state": "previewed",
            "created_at_ms": int(time.time() * 1000),
            "total": len(found),
        }
        facts |= {f"type:{name}": count for name, count in Counter(kind for _, _, kind in found).items()}
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(keys.replay(replay_id), mapping=facts)
            pipeline.expire(keys.replay(replay_id), _KEPT_SECONDS)
            for first in range(0, len(found), 1_000):
                entries = [f"{job_id}|{failed_at}" for job_id, failed_at, _ in found[first : first + 1_000]]
                pipeline.rpush(keys.replay_ids(replay_id), *entries)
            pipeline.expire(keys.replay_ids(replay_id), _KEPT_SECONDS)
            pipeline.execute()
        return self.get(queue, replay_id)

    def get(self, queue: str, replay_id: str) -> Replay:
        """How far a batch replay has come. Raises UnknownJob."""
        facts: dict[str, str] = self._client.hgetall(QueueKeys(queue).replay(replay_id))
        if not facts:
            raise UnknownJob(f"replay: {queue} has no batch replay {replay_id!r}; they are kept for seven days")
        prefix = "type:"
        types = {name.removeprefix(prefix): int(n) for name, n in facts.items() if name.startswith(prefix)}
        return Replay.model_validate(
            {
                "id": replay_id,
                "queue": queue,
                "operator": facts["operator"],
                "state": facts["state"],
                "created_at": moment(facts["created_at_ms"]),
                "total_count": facts["total"],
                "done_count": facts.get("done", 0),
                "replayed_count": facts.get("replayed", 0),
                "counts_by_error_type": types,
            }
        )

    def run(
        self, queue: str, replay_id: str, *, actor: str, rate_per_second: float | None,
        on_progress: Callable[[Replay], None],
    ) -> Replay:  # fmt: skip
        """Replay the frozen list from where it stands, until its end or an abort.

        Raises:
            WrongState: the batch replay has ended.
        """
        keys = QueueKeys(queue)
        replay = self.get(queue, replay_id)
        if replay.state in ("finished", "aborted"):
            raise WrongState(f"replay: {replay_id} is {replay.state}; preview a new one")
        self._client.hset(keys.replay(replay_id), "state", "running")
        chunk = _CHUNK if rate_per_second is None else max(1, min(_CHUNK, int(rate_per_second)))
        while (replay := self.get(queue, replay_id)).state == "running":
            on_progress(replay)
            begun = time.monotonic()
            if not self._replay_chunk(keys, replay, actor, chunk):
                self._client.hset(keys.replay(replay_id), "state", "finished")
            elif rate_per_second is not None:
                time.sleep(max(0.0, chunk / rate_per_second - (time.monotonic() - begun)))
        on_progress(replay)
        return replay

    def _replay_chunk(self, keys: QueueKeys, replay: Replay, actor: str, size: int) -> int:
        first = replay.done_count
        entries: list[str] = self._client.lrange(keys.replay_ids(replay.id), first, first + size - 1)
        if not entries:
            return 0
        calls = []
        for entry in entries:
            job_id, _, failed_at_ms = entry.rpartition("|")
            calls.append(scripts.replay_dead_letter(keys, job_id=job_id, actor=actor, failed_at_ms=int(failed_at_ms)))
        answers = self._runner.run_many(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        # Dying before this line repeats the chunk: each of its failures is gone by then, and counts as skipped.
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.hset(keys.replay(replay.id), "done", first + len(entries))
            pipeline.hincrby(keys.replay(replay.id), "replayed", sum(answers))
            pipeline.execute()
        return len(entries)

    def abort(self, queue: str, replay_id: str) -> Replay:
        """Stop before the next chunk; what was replayed stays replayed."""
        replay = self.get(queue, replay_id)
        if replay.state in ("finished", "aborted"):
            raise WrongState(f"replay: {replay_id} is {replay.state} already")
        self._client.hset(QueueKeys(queue).replay(replay_id), "state", "aborted")
        return self.get(queue, replay_id)
