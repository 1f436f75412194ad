"""The server's clock is set forward: no worker takes what living ones hold."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock
from tests.support.waiting import until

QUEUE = "test:work"


@pytest.fixture
def engines(clock: Clock, redis_server: RedisServer, cipher: Cipher) -> Iterator[list[Engine]]:
    """Two workers that beat when they are told to."""
    made = [Engine(redis_server.url, cipher, lease_seconds=600) for _ in range(2)]
    for engine in made:
        # Not by themselves: a beat that is under way while the clock is set is another matter.
        engine.broker.lease_keeper.close()
    yield made
    for engine in made:
        engine.close()


def test_an_hour_forward_makes_no_losses(
    engines: list[Engine], producer: Producer, queries: JobQueries, clock: Clock
) -> None:
    may_end = threading.Event()
    for engine in engines:
        engine.behaviour = lambda job, ctx: may_end.wait(60) and None
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(8)])
    state = State(engines[0].broker.client)  # type: ignore[arg-type]
    with engines[0].working(threads=4), engines[1].working(threads=4):
        until(lambda: queries.counts(QUEUE).active == 8, what="all jobs held")
        for engine in engines:
            engine.broker.lease_keeper.beat()
        clock.advance(3_600)
        for engine in engines:
            engine.broker.lease_keeper.beat()

        assert state.actions().count("job.lost") == 0
        assert min(score for _, score in state.client.zrange(KEYS.active, 0, -1, withscores=True)) > clock.now_ms
        may_end.set()
        engines[0].broker.join(QUEUE, timeout=60_000)

    assert queries.counts(QUEUE).completed == 8 and len(engines[0].runs) + len(engines[1].runs) == 8


def test_an_idle_worker_takes_nothing_either(engines: list[Engine], producer: Producer, clock: Clock) -> None:
    state, broker = State(engines[0].broker.client), engines[0].broker  # type: ignore[arg-type]
    producer.enqueue_many(QUEUE, "work", [{"number": number} for number in range(3)])
    state.fetch(3)
    for queue in ("test:other", QUEUE):
        broker.lane(queue)
    for _ in range(3):
        broker.lease_keeper.beat()

    clock.advance(3_600)
    for _ in range(3):
        broker.lease_keeper.beat()

    assert state.actions().count("job.lost") == 0
