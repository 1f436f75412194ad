"""Many jobs brought to their end by the scripts alone, faster than any worker would."""

from __future__ import annotations

import uuid
from typing import Any

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import NewJob, Run, ScriptRunner


def complete_jobs(client: Any, count: int, *, queue: str = "test:work", job: str = "work", group: int = 100) -> None:
    """Enqueue, fetch and complete so many jobs, a group at a time."""
    runner, keys = ScriptRunner(client), QueueKeys(queue)
    for first in range(0, count, group):
        size = min(group, count - first)
        jobs = [NewJob(id=str(uuid.uuid4()), name=job, payload="{}") for _ in range(size)]
        runner.run(scripts.enqueue(keys, idempotency_ms=1_000, actor="test", jobs=jobs))
        fetched = runner.run(
            scripts.fetch(
                keys, count=size, lease_ms=60_000, worker="w:1", global_concurrency=0, rate_count=0, rate_period_ms=0
            )
        )
        runs = [(Run(d.id, d.delivery, 1_700_000_000_000, 5.0, "b41"), "") for d in fetched.deliveries]
        runner.run(scripts.complete(keys, worker="w:1", completed_kept=100, wakes=False, runs=runs))
