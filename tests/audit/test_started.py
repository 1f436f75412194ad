"""`job.started`, where the settings ask for it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis

from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.engine.processor import Processor
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.settings import Settings
from tests.conftest import SECRET_KEY
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS
from tests.support.topology import TOPOLOGY, Confide, Poison, Work
from tests.support.waiting import until

MODELS = {"work": Work, "other": Work, "poison": Poison, "confide": Confide}


def actions(client: redis.Redis, job_id: str) -> list[str]:
    return [fields["action"] for _, fields in client.xrange(KEYS.audit) if fields["job_id"] == job_id]


@pytest.mark.parametrize("is_asked_for", [True, False])
def test_a_beginning_is_in_the_trail_while_the_job_still_runs(
    redis_server: RedisServer, client: redis.Redis, producer: Producer, tmp_path: Path, is_asked_for: bool
) -> None:
    settings = Settings(audit_started=is_asked_for, data_dir=tmp_path, secret_key=SECRET_KEY)
    broker = build_broker(settings, redis_server.url, topology=TOPOLOGY)
    running, may_end = threading.Event(), threading.Event()

    def run(job: Any, ctx: Any) -> None:
        running.set()
        may_end.wait(20)

    register(broker, [Processor(name, model, run) for name, model in MODELS.items()], None)
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    try:
        job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
        assert running.wait(20)
        if is_asked_for:
            until(lambda: actions(client, job_id) == ["job.enqueued", "job.started"], what="the note")
        may_end.set()
        until(lambda: "job.completed" in actions(client, job_id), what="the end")
    finally:
        may_end.set()
        worker.stop(timeout=10_000)
        broker.close()

    begun = ["job.started"] if is_asked_for else []
    assert actions(client, job_id) == ["job.enqueued", *begun, "job.completed"]


def test_a_beginning_stands_before_its_end_though_the_server_knew_only_the_script_of_the_end(
    redis_server: RedisServer, client: redis.Redis, producer: Producer, tmp_path: Path
) -> None:
    settings = Settings(audit_started=True, data_dir=tmp_path, secret_key=SECRET_KEY)
    broker = build_broker(settings, redis_server.url, topology=TOPOLOGY)
    register(broker, [Processor(name, model, lambda job, ctx: None) for name, model in MODELS.items()], None)
    job_ids = [producer.enqueue("test:work", "work", {"number": number}).job_id for number in range(8)]
    client.script_flush()
    client.script_load(scripts.load("complete").source)
    worker = dramatiq.Worker(broker, worker_threads=4, worker_timeout=100)
    worker.start()
    try:
        broker.join("test:work", timeout=30_000)
    finally:
        worker.stop(timeout=10_000)
        broker.close()

    assert [actions(client, job_id) for job_id in job_ids] == [["job.enqueued", "job.started", "job.completed"]] * 8


def test_a_job_that_a_guard_stops_was_not_begun(
    redis_server: RedisServer, client: redis.Redis, producer: Producer, tmp_path: Path
) -> None:
    broker = build_broker(
        Settings(audit_started=True, data_dir=tmp_path, secret_key=SECRET_KEY), redis_server.url, topology=TOPOLOGY
    )
    register(broker, [Processor(name, model, lambda job, ctx: None) for name, model in MODELS.items()], None)
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    client.hset(KEYS.job(job_id), "payload", '{"number": "not one"}')
    worker = dramatiq.Worker(broker, worker_threads=2, worker_timeout=100)
    worker.start()
    try:
        until(lambda: "dlq.added" in actions(client, job_id), what="the dead letter")
    finally:
        worker.stop(timeout=10_000)
        broker.close()

    assert actions(client, job_id) == ["job.enqueued", "job.failed", "dlq.added"]
