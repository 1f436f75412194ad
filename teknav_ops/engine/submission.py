"""Submission: the one way a job enters a queue, for producers and for Dramatiq's `send` alike."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from redis.exceptions import OutOfMemoryError

from teknav_ops.errors import RedisUnavailable
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, RefusedForNow
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Accepted, NewJob, ScriptRunner
from teknav_ops.topology import Queue

#: Jobs in one script call and one round trip.
BATCH_LIMIT: Final = 1_000
_RETRY_SECONDS: Final = 0.2


def submit(
    runner: ScriptRunner, queue: Queue, jobs: Sequence[NewJob], *, actor: str, timeout_seconds: float
) -> list[Accepted]:
    """Write jobs, a thousand per round trip, and say what became of each.

    An outage is waited out for `timeout_seconds`. Ids are made by the caller and a script accepts
    an id once, so sending again after a lost answer cannot double a job.

    Raises:
        RedisUnavailable: when Redis did not answer in time. What earlier batches wrote stays.
    """
    keys = QueueKeys(queue.name)
    deadline = time.monotonic() + timeout_seconds
    accepted: list[Accepted] = []
    for first in range(0, len(jobs), BATCH_LIMIT):
        call = scripts.enqueue(
            keys, idempotency_ms=queue.idempotency_ms, actor=actor, jobs=jobs[first : first + BATCH_LIMIT]
        )
        accepted += _send(runner, call, deadline, accepted_count=len(accepted))
    return accepted


def _send(
    runner: ScriptRunner, call: scripts.Call[list[Accepted]], deadline: float, accepted_count: int
) -> list[Accepted]:
    while True:
        try:
            return runner.run(call)
        except OUTAGE_ERRORS as error:
            if time.monotonic() >= deadline:
                raise RedisUnavailable(
                    f"{_trouble(error)}; {accepted_count} jobs had been accepted. Try again, or run `teknav doctor`."
                ) from error
            time.sleep(_RETRY_SECONDS)


def _trouble(error: Exception) -> str:
    # The server names the line of the script, which says nothing to who enqueues.
    words = str(error).partition(" script: ")[0]
    if isinstance(error, OutOfMemoryError):
        return f"Redis is full ({words})"
    is_refused = isinstance(error, RefusedForNow)
    return f"Redis takes no writes ({words})" if is_refused else f"Redis did not answer in time ({words})"
