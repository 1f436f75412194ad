"""What is handed out, in which order, and how much of it at once."""

from __future__ import annotations

import threading
import time
from datetime import timedelta

import pytest
import redis

from teknav_ops.engine.processor import JobContext
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.topology import Queue, RateLimit, Topology
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.topology import Work
from tests.support.waiting import until


def set_control(client: redis.Redis, **fields: str) -> None:
    call = scripts.set_control(QueueKeys("test:work"), actor="test", action="queue.configured", fields=fields)
    ScriptRunner(client).run(call)  # type: ignore[arg-type]


class Gauge:
    """The most jobs that were inside at once. They stay until `limit` are, then as long as one too many may take."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.inside = self.most = 0
        self._changed = threading.Condition()

    def __call__(self, job: Work, ctx: JobContext[None]) -> None:
        with self._changed:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self.most >= self.limit, timeout=45)
            self._changed.wait_for(lambda: self.inside > self.limit, timeout=0.02)
            self.inside -= 1


def test_jobs_run_by_priority_and_then_in_order_of_arrival(engine: Engine, producer: Producer) -> None:
    order: list[int] = []
    engine.behaviour = lambda job, ctx: order.append(job.number)
    for number, priority in ((1, 0), (2, 5), (3, 0), (4, -3), (5, -9), (6, -3), (7, 5)):
        producer.enqueue("test:work", "work", {"number": number}, priority=priority)

    with engine.working(threads=1):
        engine.broker.join("test:work", timeout=30_000)

    assert order == [5, 4, 6, 1, 3, 2, 7]


def test_a_delayed_job_waits_until_it_is_due_and_no_longer(engine: Engine, producer: Producer) -> None:
    ran_at: list[float] = []
    engine.behaviour = lambda job, ctx: ran_at.append(time.monotonic())

    with engine.working():
        begun = time.monotonic()
        producer.enqueue("test:work", "work", {"number": 1}, delay=timedelta(milliseconds=400))
        until(lambda: ran_at)

    # The second bound only catches polling with long sleeps; punctuality is the benchmark's business.
    assert 0.39 <= ran_at[0] - begun < 5


def test_a_process_runs_no_more_jobs_of_a_queue_at_once_than_its_concurrency(
    engine: Engine, producer: Producer
) -> None:
    gauge = Gauge(4)
    engine.behaviour = gauge
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(60)])

    with engine.working(threads=8):
        engine.broker.join("test:work", timeout=30_000)

    assert gauge.most == 4


def test_concurrency_is_changed_while_running(engine: Engine, producer: Producer, client: redis.Redis) -> None:
    gauge = Gauge(1)
    engine.behaviour = gauge
    set_control(client, concurrency="1")
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(20)])

    with engine.working(threads=8):
        engine.broker.join("test:work", timeout=30_000)

    assert gauge.most == 1


def test_global_concurrency_holds_over_two_processes(
    redis_server: RedisServer, cipher: Cipher, producer: Producer, client: redis.Redis
) -> None:
    first, second = Engine(redis_server.url, cipher), Engine(redis_server.url, cipher)
    gauge = Gauge(3)
    first.behaviour = second.behaviour = gauge
    set_control(client, global_concurrency="3")
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(60)])

    with first.working(), second.working():
        first.broker.join("test:work", timeout=30_000)
    first.close()
    second.close()

    assert gauge.most == 3
    assert first.runs and second.runs


def test_the_rate_limit_holds_over_all_workers(redis_server: RedisServer, cipher: Cipher, client: redis.Redis) -> None:
    topology = Topology(
        Queue(name="test:work", purpose="x", jobs={"work": Work}, rate_limit=RateLimit(count=5, period_ms=300))
    )
    engine = Engine(redis_server.url, cipher, topology=topology)
    offered = Producer(client, cipher=cipher, topology=topology).enqueue_many(  # type: ignore[arg-type]
        "test:work", "work", [{"number": n} for n in range(20)]
    )

    with engine.working():
        engine.broker.join("test:work", timeout=30_000)
    engine.close()

    # As Redis handed them out: when a thread came to run one says little on a busy machine.
    keys = QueueKeys("test:work")
    handed_ms = sorted(int(client.hget(keys.job(job.job_id), "fetched_at_ms") or 0) for job in offered)
    # Twenty jobs need four periods: three of them lie between the first and the last.
    assert len(engine.runs) == 20 and handed_ms[-1] - handed_ms[0] >= 900


def test_a_paused_queue_hands_out_nothing_and_ripens_what_is_due(
    engine: Engine, producer: Producer, client: redis.Redis, queries: JobQueries
) -> None:
    set_control(client, paused="1")
    producer.enqueue("test:work", "work", {"number": 1})
    producer.enqueue("test:work", "work", {"number": 2}, delay=0.05)
    producer.enqueue("test:other", "other", {"number": 3})

    with engine.working():
        until(lambda: queries.counts("test:work").waiting == 2)
        until(lambda: len(engine.runs) == 1)
        assert queries.counts("test:work").is_paused
        set_control(client, paused="")
        engine.broker.join("test:work", timeout=30_000)

    assert len(engine.runs) == 3


def test_shutdown_gives_back_what_was_not_begun_and_lets_running_jobs_finish(
    engine: Engine, producer: Producer, queries: JobQueries
) -> None:
    release, begun = threading.Event(), threading.Semaphore(0)

    def hold(job: Work, ctx: JobContext[None]) -> None:
        begun.release()
        release.wait(60)

    engine.behaviour = hold
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(20)])
    with engine.working(threads=2):
        for _ in range(2):
            assert begun.acquire(timeout=30)
        stopper = threading.Timer(0.3, release.set)
        stopper.start()

    counts = queries.counts("test:work")
    assert (counts.completed, counts.waiting, counts.active) == (2, 18, 0)
    assert [job.payload["number"] for job in queries.page("test:work", JobState.WAITING).items] == list(range(2, 20))


def test_one_process_does_not_hoard_slow_jobs_while_another_is_idle(
    redis_server: RedisServer, cipher: Cipher, producer: Producer
) -> None:
    first, second = Engine(redis_server.url, cipher), Engine(redis_server.url, cipher)
    barrier = threading.Barrier(4, timeout=20)

    def meet(job: Work, ctx: JobContext[None]) -> None:
        # Four jobs on two processes of two threads meet only if neither process sits on a third.
        barrier.wait()

    first.behaviour = second.behaviour = meet
    with first.working(threads=2), second.working(threads=2):
        producer.enqueue_many("test:work", "work", [{"number": n} for n in range(4)])
        first.broker.join("test:work", timeout=30_000)
    first.close()
    second.close()

    assert len(first.runs) == len(second.runs) == 2


@pytest.mark.parametrize("threads", [1, 8])
def test_a_thousand_short_jobs_run_once_each(engine: Engine, producer: Producer, threads: int) -> None:
    accepted = producer.enqueue_many("test:work", "work", [{"number": n} for n in range(1_000)])

    with engine.working(threads=threads):
        engine.broker.join("test:work", timeout=30_000)

    assert sorted(job_id for job_id, _ in engine.runs) == sorted(job.job_id for job in accepted)
