"""Jobs that pages show."""

from __future__ import annotations

import json

from teknav_ops.access.policy import Operator, Role
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Failure, Run, ScriptRunner
from tests.support.system import System

PLATFORM = Operator("platform", Role.OWNER)
#: Queues whose jobs need no more than an article's number.
_JOBS = {"search:index": "index-article", "ai:review": "review-article", "ai:seo": "generate-seo"}


def failed_jobs(
    system: System, count: int, *, queue: str = "search:index", error: str = "broken", error_type: str = "StorageFailed"
) -> list[str]:
    """The ids of jobs that have failed for good, the only ones of their queue, made by the scripts of workers."""
    empty(system, queue)
    producer = system.services.producer(PLATFORM)
    runner, keys = ScriptRunner(system.services.client), QueueKeys(queue)
    for number in range(count):
        producer.enqueue(queue, _JOBS[queue], {"article_id": number + 1})
    fetch = scripts.fetch(
        keys, count=count, lease_ms=60_000, worker="w:1", global_concurrency=0, rate_count=0, rate_period_ms=0
    )
    attempt = {
        "attempt": 1,
        "delivery": 1,
        "started_at": 0,
        "duration_ms": 5,
        "worker": "w:1",
        "error_type": error_type,
        "error": error,
        "stack": "Traceback: here",
    }
    deliveries = runner.run(fetch).deliveries
    for delivery in deliveries:
        failure = Failure(error_type, error, "Traceback: here", "f00dfeed0001", json.dumps(attempt))
        run = Run(delivery.id, delivery.delivery, 1_700_000_000_000, 5.0, "b41")
        runner.run(scripts.dead_letter(keys, worker="w:1", run=run, failure=failure, failed_kept=5_000))
    return [delivery.id for delivery in deliveries]


def empty(system: System, queue: str) -> None:
    """Take away what earlier tests left on a queue; not its audit entries, which the scheduler reads."""
    keys = QueueKeys(queue)
    client = system.services.client
    for key in client.scan_iter(match=f"teknav:{{{queue}}}:*", count=1_000):
        if key != keys.audit:
            client.delete(key)
