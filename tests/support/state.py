"""Builders for script tests: a job brought into a state by the scripts themselves."""

from __future__ import annotations

import json
import uuid
from typing import Any

import redis

from teknav_ops.jobs.sketch import bucket
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Call, Delivery, Failure, NewJob, Run, ScriptRunner

QUEUE = "test:work"
KEYS = QueueKeys(QUEUE)


class State:
    """Runs scripts on one queue and looks at what they did."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.runner = ScriptRunner(client)  # type: ignore[arg-type]

    def run(self, call: Call[Any]) -> Any:
        return self.runner.run(call)

    def enqueue(self, **facts: Any) -> str:
        job = NewJob(**{"id": str(uuid.uuid4()), "name": "work", "payload": '{"number": 1}', **facts})
        return self.run(scripts.enqueue(KEYS, idempotency_ms=86_400_000, actor="test", jobs=[job]))[0].job_id

    def fetch(self, count: int = 1, *, lease_ms: int = 30_000, **limits: int) -> list[Delivery]:
        return self.fetched(count, lease_ms=lease_ms, **limits).deliveries

    def fetched(self, count: int = 1, *, lease_ms: int = 30_000, **limits: int) -> scripts.Fetched:
        limits = {"global_concurrency": 0, "rate_count": 0, "rate_period_ms": 0, **limits}
        return self.run(scripts.fetch(KEYS, count=count, lease_ms=lease_ms, worker="w:1", **limits))

    def complete(
        self, *deliveries: Delivery, kept: int = 1_000, wakes: bool = False, duration_ms: float = 5.0
    ) -> list[int]:
        runs = [(run_of(delivery, duration_ms=duration_ms), '{"ok": true}') for delivery in deliveries]
        return self.run(scripts.complete(KEYS, worker="w:1", completed_kept=kept, wakes=wakes, runs=runs))

    def postpone(
        self, delivery: Delivery, *, delay_ms: int = 60_000, uses_attempt: bool = True, series: Any = ""
    ) -> int:
        call = scripts.postpone(
            KEYS,
            worker="w:1",
            run=run_of(delivery),
            failure=failure(),
            delay_ms=delay_ms,
            uses_attempt=uses_attempt,
            series=series,
        )
        return self.run(call)

    def dead_letter(self, delivery: Delivery, *, kept: int = 5_000, error_type: str = "ValueError") -> int:
        call = scripts.dead_letter(
            KEYS, worker="w:1", run=run_of(delivery), failure=failure(error_type), failed_kept=kept
        )
        return self.run(call)

    def dead(self, **facts: Any) -> str:
        """A job that has failed for good."""
        job_id = self.enqueue(**facts)
        (delivery,) = self.fetch()
        assert self.dead_letter(delivery) == 1
        return job_id

    def job(self, job_id: str) -> dict[str, str]:
        return self.client.hgetall(KEYS.job(job_id))

    def actions(self) -> list[str]:
        """What the audit stream says, in order."""
        return [fields["action"] for _, fields in self.client.xrange(KEYS.audit)]

    def expire_leases(self) -> None:
        for job_id in self.client.zrange(KEYS.active, 0, -1):
            self.client.zadd(KEYS.active, {job_id: 1})

    def places(self, job_id: str) -> list[str]:
        """Every structure that holds the job: there must be exactly one."""
        zsets = ("prioritized", "active", "delayed", "completed", "failed", "cancelled")
        found = [name for name in zsets if self.client.zscore(getattr(KEYS, name), job_id) is not None]
        return found + ["waiting"] * self.client.lrange(KEYS.waiting, 0, -1).count(job_id)


def run_of(delivery: Delivery, *, duration_ms: float = 5.0) -> Run:
    return Run(delivery.id, delivery.delivery, 1_700_000_000_000, duration_ms, bucket(duration_ms))


def failure(error_type: str = "ValueError") -> Failure:
    attempt = {"attempt": 1, "delivery": 1, "started_at": 0, "duration_ms": 5, "worker": "w:1",
               "error_type": error_type, "error": "broken", "stack": "Traceback"}  # fmt: skip
    return Failure(error_type, "broken", "Traceback", "f1", json.dumps(attempt))
