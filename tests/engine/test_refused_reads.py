"""Redis refuses what is no outage: a right that is missing, a key of another kind. What was taken is given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dramatiq
import pytest
import redis
from redis.exceptions import ResponseError

from teknav_ops.engine.consumer import JobConsumer
from teknav_ops.engine.delivery import JobMessage
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from tests.support.engine import Engine
from tests.support.state import KEYS, State
from tests.support.waiting import until

QUEUE = "test:work"


@pytest.fixture
def consumer(engine: Engine) -> Iterator[JobConsumer]:
    """As Dramatiq makes one, with four threads."""
    engine.broker.desk.open(4)
    made = engine.broker.consume(QUEUE, timeout=100)
    yield made
    made.close()


@contextmanager
def of_another_kind(client: redis.Redis, key: str) -> Iterator[None]:
    """Some other tool has written text there; then it is put right."""
    aside = f"{key}:aside"
    if client.exists(key):
        client.rename(key, aside)
    client.set(key, "text")
    yield
    client.delete(key)
    if client.exists(aside):
        client.rename(aside, key)


def lose(client: redis.Redis, *, times: int) -> str:
    """The one job is handed out, begun, and outlives its worker, again and again."""
    state = State(client)
    for _ in range(times):
        (delivery,) = state.fetch(1, lease_ms=-1)
        state.run(scripts.mark_started(KEYS, job_id=delivery.id, delivery=delivery.delivery))
        state.run(scripts.reclaim(KEYS, count=100, lost_limit=9, lease_ms=30_000, worker="keeper"))
    return delivery.id


def test_a_refused_fetch_keeps_no_place_however_often_it_is_refused(
    consumer: JobConsumer, engine: Engine, client: redis.Redis, producer: Producer
) -> None:
    job_id = producer.enqueue(QUEUE, "work", {"number": 1}).job_id
    with of_another_kind(client, KEYS.control):
        for _ in range(9):
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                next(consumer)

    message = next(consumer)
    assert message is not None and message.message_id == job_id
    assert (engine.broker.lane(QUEUE).handed_count, engine.broker.held_counts()) == (1, {QUEUE: 1})


@pytest.mark.parametrize("times", [1, 2])
def test_a_lost_job_that_is_refused_as_it_is_to_begin_is_held_by_nobody_and_no_suspect(
    consumer: JobConsumer, engine: Engine, client: redis.Redis, producer: Producer, times: int
) -> None:
    producer.enqueue(QUEUE, "work", {"number": 1})
    job_id = lose(client, times=times)
    run = engine.broker.runner.run

    def refused(call: scripts.Call[object]) -> object:
        if call.script.name == "mark_started":
            client.rename(KEYS.job(job_id), "aside")
            client.set(KEYS.job(job_id), "text")
        return run(call)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine.broker.runner, "run", refused)
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            next(consumer)

    desk = engine.broker.desk
    assert engine.broker.held_counts()[QUEUE] == 0 and not desk.has_suspect
    assert engine.broker.lane(QUEUE).handed_count == 0


def test_a_refused_return_is_no_end_of_a_consumer_and_its_leases_run_out(
    consumer: JobConsumer, engine: Engine, client: redis.Redis, producer: Producer
) -> None:
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(2)])
    message = next(consumer)
    assert isinstance(message, JobMessage)
    with of_another_kind(client, KEYS.active):
        consumer.requeue([message])
        consumer.close()

    assert engine.broker.lane(QUEUE).handed_count == 0 and not engine.broker.held_counts()[QUEUE]


def test_a_process_that_was_refused_runs_jobs_when_redis_is_put_right(
    engine: Engine, client: redis.Redis, producer: Producer, queries: JobQueries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.01)
    refused = 0
    fetch = JobConsumer._fetch

    def counting(self: JobConsumer) -> None:
        nonlocal refused
        try:
            fetch(self)
        except ResponseError:
            refused += 1
            raise

    monkeypatch.setattr(JobConsumer, "_fetch", counting)
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(8)])
    with of_another_kind(client, KEYS.control), engine.working(threads=4):
        until(lambda: refused > 8, what="more refusals than there are places")
        client.delete(KEYS.control)
        engine.broker.join(QUEUE, timeout=60_000)

    assert queries.counts(QUEUE).completed == 8
