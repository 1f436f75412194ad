"""Jobs that outlived their workers: they come back, the dangerous ones apart from each other, and hold up no others."""

from __future__ import annotations

import threading
import time

import pytest
import redis

from teknav_ops.engine.processor import JobContext
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import Work
from tests.support.waiting import until

QUEUE = "test:work"


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


def lose(state: State, count: int, *, times: int) -> None:
    """So many jobs are handed out, begun, and outlive their worker, again and again."""
    for _ in range(times):
        for delivery in state.fetch(count, lease_ms=-1):
            state.run(scripts.mark_started(KEYS, job_id=delivery.id, delivery=delivery.delivery))
        call = scripts.reclaim(KEYS, count=100, lost_limit=9, lease_ms=30_000, worker="keeper")
        assert state.run(call).returned_count == count


def test_jobs_that_were_lost_once_run_side_by_side(
    engine: Engine, producer: Producer, state: State, queries: JobQueries
) -> None:
    together = threading.Barrier(4, timeout=40)
    engine.behaviour = lambda job, ctx: together.wait() and None
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(8)])
    lose(state, 8, times=1)

    with engine.working(threads=4):
        engine.broker.join(QUEUE, timeout=60_000)

    assert queries.counts(QUEUE).completed == 8 and not together.broken


def test_jobs_that_were_lost_twice_run_one_at_a_time_and_others_go_past(
    engine: Engine, producer: Producer, state: State, queries: JobQueries
) -> None:
    may_end, running, most_at_once, lock = threading.Event(), 0, 0, threading.Lock()

    def run(job: Work, ctx: JobContext[None]) -> None:
        nonlocal running, most_at_once
        if job.number >= 3:
            return
        with lock:
            running += 1
            most_at_once = max(most_at_once, running)
        may_end.wait(60)
        with lock:
            running -= 1

    engine.behaviour = run
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(3)])
    lose(state, 3, times=2)
    producer.enqueue_many(QUEUE, "work", [{"number": 10 + number} for number in range(40)])

    with engine.working(threads=4):
        until(lambda: queries.counts(QUEUE).completed == 40, what="all that stood behind the suspects")
        assert running == 1 and queries.counts(QUEUE).active <= 4
        may_end.set()
        engine.broker.join(QUEUE, timeout=60_000)

    assert (queries.counts(QUEUE).completed, most_at_once) == (43, 1)


def test_another_process_takes_the_suspects_that_wait_for_one_to_end(
    redis_server: RedisServer, cipher: Cipher, producer: Producer, state: State, queries: JobQueries
) -> None:
    engines = [Engine(redis_server.url, cipher) for _ in range(2)]
    together = threading.Barrier(2, timeout=40)
    engines[0].behaviour = engines[1].behaviour = lambda job, ctx: together.wait() and None
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(4)])
    lose(state, 4, times=2)

    with engines[0].working(threads=4):
        until(lambda: engines[0].runs, what="the first suspect")
        # It holds back none beside the one that it runs.
        assert state.client.zcard(KEYS.active) == 1
        with engines[1].working(threads=4):
            engines[0].broker.join(QUEUE, timeout=60_000)

    assert [len(engine.runs) for engine in engines] == [2, 2] and not together.broken
    for engine in engines:
        engine.close()


def test_two_queues_of_a_process_run_one_suspect_at_a_time(
    engine: Engine, producer: Producer, client: redis.Redis
) -> None:
    """Their consumers may be given one each at the same moment."""
    inside, most, changed = 0, 0, threading.Condition()

    def run(job: Work, ctx: JobContext[None]) -> None:
        nonlocal inside, most
        with changed:
            inside += 1
            most = max(most, inside)
            changed.notify_all()
            # As long as one too many may take to come.
            changed.wait_for(lambda: inside > 1, timeout=0.02)
            inside -= 1

    engine.behaviour = run
    producer.enqueue_many("test:other", "other", [{"number": number} for number in range(6)])
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(6)])
    for keys in (KEYS, QueueKeys("test:other")):
        for job_id in client.lrange(keys.waiting, 0, -1):
            client.hset(keys.job(job_id), "lost", 2)

    with engine.working(threads=4):
        for queue in (QUEUE, "test:other"):
            engine.broker.join(queue, timeout=60_000)

    assert (len(engine.runs), most) == (12, 1)


def test_a_worker_with_nothing_but_suspects_waits_without_asking_again_and_again(
    engine: Engine, producer: Producer, state: State
) -> None:
    may_end = threading.Event()
    engine.behaviour = lambda job, ctx: may_end.wait(60) and None
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(3)])
    lose(state, 3, times=2)

    with engine.working(threads=4, queues={QUEUE}):
        until(lambda: state.client.zcard(KEYS.active) == 1, what="the first suspect")
        before, began = state.client.info("stats")["total_commands_processed"], time.monotonic()
        until(lambda: time.monotonic() - began > 0.5, what="half a second")
        asked = state.client.info("stats")["total_commands_processed"] - before
        may_end.set()
        engine.broker.join(QUEUE, timeout=60_000)

    # Some ten rounds a second of some commands each, those within scripts included, where a loop would send thousands.
    assert asked < 500 * (time.monotonic() - began)
