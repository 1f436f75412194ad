"""Submission: the one way a job enters a queue, for producers and for Dramatiq's `send` alike."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from redis.exceptions import OutOfMemoryError

from teknav_ops.errors import IdempotencyConflict, InvalidPayload, InvalidRequest, MissingSecretKey, RedisUnavailable
from teknav_ops.payloads import codec
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.refusals import RefusedForNow
from teknav_ops.redis_state.scripts import Accepted, KeyInUse, NewJob, ScriptRunner
from teknav_ops.topology import Queue

Answer = TypeVar("Answer")

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
        accepted += _wait_out(partial(runner.run, call), deadline, accepted_count=len(accepted))
    return [_require_same_request(queue, job, answer, cipher) for job, answer in zip(jobs, accepted, strict=True)]


def require_no_conflict(
    runner: ScriptRunner, queue: Queue, jobs: Sequence[NewJob], cipher: codec.Cipher, *, timeout_seconds: float
) -> None:
    """Raise IdempotencyConflict where the key of one of these jobs stands for another request by now, and
    RedisUnavailable where that cannot be known in time; InvalidRequest where two of them that differ have one key.
    Nothing is written.
    """
    _require_own_keys(queue, jobs, cipher)
    deadline = time.monotonic() + timeout_seconds
    keyed = [job for job in jobs if job.idempotency_key]
    found = _wait_out(lambda: _first_requests(runner.client, QueueKeys(queue.name), keyed), deadline, accepted_count=0)
    for job, first in found:
        _require_same_request(queue, job, first, cipher)


def _require_own_keys(queue: Queue, jobs: Sequence[NewJob], cipher: codec.Cipher) -> None:
    firsts: dict[str, tuple[int, NewJob]] = {}
    for number, job in enumerate(jobs):
        at, first = firsts.setdefault(job.idempotency_key, (number, job))
        if job.idempotency_key and first is not job:
            try:
                _require_same_request(queue, job, KeyInUse(first.id, False, first.name, first.payload), cipher)
            except IdempotencyConflict as error:
                raise InvalidRequest(
                    f"idempotency_keys: items {at} and {number} have the key {job.idempotency_key!r}, and "
                    f"{error.fields[0][0]} differs; give each a key of its own"
                ) from None


def _first_requests(client: Client, keys: QueueKeys, jobs: Sequence[NewJob]) -> list[tuple[NewJob, KeyInUse]]:
    """Those of the jobs whose key is used, with what it stands for; two round trips. What is damaged is left out."""
    with client.pipeline(transaction=False) as pipeline:
        for job in jobs:
            pipeline.execute_command("GET", keys.idempotency_family + job.idempotency_key)
        used = [(job, job_id) for job, job_id in zip(jobs, pipeline.execute(), strict=True) if job_id]
        for _, job_id in used:
            pipeline.hmget(keys.job(job_id), ["name", "payload", "first_payload"])
        records = pipeline.execute(raise_on_error=False) if used else []
    return [
        (job, KeyInUse(job_id, False, record[0], record[2] or record[1]))
        for (job, job_id), record in zip(used, records, strict=True)
        if not isinstance(record, Exception) and record[0] and record[1]
    ]


def _wait_out(ask: Callable[[], Answer], deadline: float, accepted_count: int) -> Answer:
    """What is answered, once an outage is over."""
    while True:
        try:
            return ask()
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
