"""Load and threads of each queue: what operators changed counts, a paused queue's work waits, retries take threads."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import redis

from teknav_ops.access.policy import Operator, Role
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.snapshots.export import Exporter
from teknav_ops.storage.tables import AuditLog
from teknav_ops.workbench import Workbench
from teknav_ops.workbench.capacities import Load
from tests.conftest import SECRET_KEY

QUEUE = "media:optimize"
_HOUR = timedelta(hours=1)


def work(bench: Workbench, outcomes: list[tuple[str, int | None]]) -> None:
    """Entries of the past hour, and a snapshot of them."""
    begun = datetime.now(UTC) - _HOUR
    with bench.database.session() as session:
        for number, (action, duration_ms) in enumerate(outcomes):
            session.add(AuditLog(
                at=begun + timedelta(seconds=number), action=action, queue=QUEUE, job_name="optimize-image",
                job_id=f"job-{number}", stream_id=f"1-{number}", duration_ms=duration_ms, waited_ms=duration_ms and 5,
            ))  # fmt: skip
    Exporter.from_settings(bench.settings, bench.database).export(wait_seconds=20)


def serve(client: redis.Redis, name: str, threads: int) -> None:
    """A worker's sign of life."""
    client.zadd(QueueKeys(QUEUE).workers, {name: time.time() * 1000})
    words = {"host": "a", "pid": 1, "started_at_ms": 1, "thread_count": threads, "queues": [QUEUE]}
    client.set(keys.worker(name), json.dumps(words))


def load(bench: Workbench) -> Load:
    return bench.loads(**bench.last(hours=2))[QUEUE]


def test_a_paused_queues_backlog_counts(bench: Workbench, client: redis.Redis) -> None:
    work(bench, [("job.enqueued", None)])
    producer = Producer(client, cipher=Cipher([SECRET_KEY]), timeout_seconds=2, actor=Operator("a", Role.OWNER).name)
    producer.enqueue_many(QUEUE, "optimize-image", [{"file_id": n} for n in range(1, 6)])
    bench.control.pause(QUEUE)

    assert load(bench).backlog_count == 5


def test_limits_that_an_operator_changed_bound_the_threads(bench: Workbench, client: redis.Redis) -> None:
    work(bench, [("job.enqueued", None)])
    catalogue = bench.queue(QUEUE)
    serve(client, "one", threads=64)
    serve(client, "two", threads=1)
    assert load(bench).threads == catalogue.concurrency + 1

    bench.control.configure(QUEUE, concurrency=40, global_concurrency=100)
    assert load(bench).threads == 41
    bench.control.configure(QUEUE, global_concurrency=7)
    assert load(bench).threads == 7


def test_a_jobs_time_on_threads_has_its_retries_in_it(bench: Workbench) -> None:
    arrived = [("job.enqueued", None)] * 2
    runs = [("job.retried", 3_000), ("job.retried", 3_000), ("job.completed", 1_000), ("job.failed", 1_000)]
    work(bench, [*arrived, *runs])

    found = load(bench)

    assert found.mean_seconds == pytest.approx((3 + 3 + 1 + 1) / 2)
    capacity = bench.capacity(bench.loads(**bench.last(hours=2))).set_index("queue")
    assert capacity.loc[QUEUE, "busy_threads"] == pytest.approx(8 / 3_600, rel=0.01)


def test_without_an_ended_job_a_runs_mean_is_taken(bench: Workbench) -> None:
    work(bench, [("job.enqueued", None), ("job.retried", 2_000), ("job.retried", 4_000)])
    assert load(bench).mean_seconds == pytest.approx(3)
