"""Many dead letters and waiting jobs, written as the scripts would write them, through pipelines."""

from __future__ import annotations

import json
from typing import Any, Final

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import NewJob, ScriptRunner

_CHUNK: Final = 2_000
#: A failed job's error types: most frequent first, as in an incident.
ERROR_TYPES: Final = ("WebhookFailed", "HostUnreachable", "AnswerTimedOut", "WebhookRefused")
FIRST_AT_MS: Final = 1_764_000_000_000


def error_type_of(number: int) -> str:
    """Half are of the first type, a quarter of the second, and so on."""
    return ERROR_TYPES[min((number & -number).bit_length() - 1 if number else 0, len(ERROR_TYPES) - 1)]


def make_dead_letters(
    client: Any, queue: str, count: int, *, job: str = "deliver-webhook", error: str = "no answer from host"
) -> None:
    """So many failed jobs with dead letters; number n failed n seconds after the first."""
    keys = QueueKeys(queue)
    groups: dict[str, int] = {}
    for first in range(0, count, _CHUNK):
        pipeline = client.pipeline(transaction=False)
        for number in range(first, min(first + _CHUNK, count)):
            kind = error_type_of(number)
            group = f"{kind}|f{number % 50:02}"
            groups[group] = groups.get(group, 0) + 1
            _write(pipeline, keys, number, kind, f"f{number % 50:02}", job, f"{error} number {number}")
        pipeline.execute()
    client.hset(keys.dlq_groups, mapping=groups)


def letter_cursor(number: int) -> str:
    """The place of a dead letter in the lists of the API, which go on after it."""
    return f"{FIRST_AT_MS + number * 1_000}_dead-{number:07}"


def _write(pipeline: Any, keys: QueueKeys, number: int, kind: str, mark: str, job: str, error: str) -> None:
    job_id, at_ms = f"dead-{number:07}", FIRST_AT_MS + number * 1_000
    payload = json.dumps({"endpoint_id": number % 100, "event": "article.published", "data": {"article_id": number}})
    stack = "Traceback (most recent call last):\n" + '  File "workers/webhooks_deliver.py", line 90, in send\n' * 8
    for index in (keys.failed, keys.dlq, keys.dlq_type(kind), keys.dlq_fingerprint(mark)):
        pipeline.zadd(index, {job_id: at_ms})
    common = {"payload": payload, "error": error, "fingerprint": mark}
    pipeline.hset(
        keys.job(job_id),
        mapping=common
        | {
            "state": "failed", "name": job, "enqueued_at_ms": at_ms - 500, "finished_at_ms": at_ms, "attempts": 5,
            "error_type": kind, "trace": f"{number:032x}", "delivery": 5,
        },
    )  # fmt: skip
    pipeline.hset(
        keys.dlq_record(job_id),
        mapping=common
        | {
            "originalQueue": keys.queue, "originalJobId": job_id, "stack": stack, "attemptsMade": 5,
            "failedAt": at_ms, "traceId": f"{number:032x}", "jobName": job, "errorType": kind,
        },
    )  # fmt: skip


def line_up(client: Any, queue: str, count: int, *, job: str, payload: str = '{"file_id": 1}') -> None:
    """So many waiting jobs, by the script that accepts them."""
    runner, keys = ScriptRunner(client), QueueKeys(queue)
    for first in range(0, count, 1_000):
        jobs = [
            NewJob(id=f"waiting-{number:07}", name=job, payload=payload)
            for number in range(first, min(first + 1_000, count))
        ]
        runner.run(scripts.enqueue(keys, idempotency_ms=1, actor="test", jobs=jobs))
