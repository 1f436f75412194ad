"""Submission: the one way a job enters a queue, for producers and for Dramatiq's `send` alike."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import OutOfMemoryError

from teknav_ops.errors import IdempotencyConflict, InvalidPayload, MissingSecretKey, RedisUnavailable
from teknav_ops.payloads import codec
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, RefusedForNow
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Accepted, KeyInUse, NewJob, ScriptRunner
from teknav_ops.topology import Queue

#: Jobs in one script call and one round trip.
BATCH_LIMIT: Final = 1_000
_RETRY_SECONDS: Final = 0.2


def submit(
    runner: ScriptRunner,
    queue: Queue,
    jobs: Sequence[NewJob],
    *,
    cipher: codec.Cipher,
    actor: str,
    timeout_seconds: float,
) -> list[Accepted]:
    """Write jobs, a thousand per round trip, and say what became of each.

    An outage is waited out for `timeout_seconds`. Ids are made by the caller and a script accepts
    an id once, so sending again after a lost answer cannot double a job.

    Raises:
        RedisUnavailable: when Redis did not answer in time. What earlier batches wrote stays.
        IdempotencyConflict: when a key had been used for another request. That job was not written; the others were.
    """
    keys = QueueKeys(queue.name)
    deadline = time.monotonic() + timeout_seconds
    accepted: list[Accepted] = []
    for first in range(0, len(jobs), BATCH_LIMIT):
        call = scripts.enqueue(
            keys, idempotency_ms=queue.idempotency_ms, actor=actor, jobs=jobs[first : first + BATCH_LIMIT]
        )
        accepted += _send(runner, call, deadline, accepted_count=len(accepted))
    return [_require_same_request(queue, job, answer, cipher) for job, answer in zip(jobs, accepted, strict=True)]


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


def _require_same_request(queue: Queue, job: NewJob, answer: Accepted, cipher: codec.Cipher) -> Accepted:
    """The answer, unless its key stands for another request than this."""
    if not isinstance(answer, KeyInUse):
        return answer
    if answer.first_name != job.name:
        raise IdempotencyConflict(job.idempotency_key, answer.job_id, "job")
    first_holder = codec.Holder(queue.name, job.name, answer.job_id)
    path = _first_difference(queue, job, first_holder, answer.first_payload, cipher)
    if path is not None:
        raise IdempotencyConflict(job.idempotency_key, answer.job_id, ".".join(["payload", *path]))
    return Accepted(answer.job_id, is_new=False)


def _first_difference(
    queue: Queue, job: NewJob, first_holder: codec.Holder, first_payload: str, cipher: codec.Cipher
) -> list[str] | None:
    """Where two stored payloads differ. Secrets are compared in clear, since each encryption is another."""
    again_holder = codec.Holder(queue.name, job.name, job.id)

    def unsealed(stored: Any, holder: codec.Holder) -> Any:
        return codec.unseal(stored, cipher, holder)

    def validated(stored: Any, holder: codec.Holder) -> Any:
        # What is left out and what is given as its default are the same request.
        return queue.jobs[job.name].model_validate(unsealed(stored, holder)).model_dump(mode="python")

    def masked(stored: Any, _: codec.Holder) -> Any:
        return codec.mask(stored)

    for opened in (validated, unsealed, masked):
        try:
            first = opened(json.loads(first_payload), first_holder)
            return codec.differing_field(first, opened(json.loads(job.payload), again_holder))
        except (KeyError, TypeError, ValueError, InvalidPayload, MissingSecretKey):
            # Of a job or a model of another version, or under a key that is gone: less can be told.
            continue
    return []
