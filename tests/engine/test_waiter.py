"""The waiter: who rings is heard at once, by a process that can take the job, and what nobody rang for is found."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from teknav_ops.engine.consumer import JobConsumer
from teknav_ops.engine.lane import Desk, Lane
from teknav_ops.engine.waiter import Waiter
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.topology import Queue
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.waiting import until

#: Longer than any test: what is heard was rung for.
NEVER = 600.0


class Process:
    """A worker process, as far as it waits."""

    def __init__(self, url: str, *, threads: int = 4, tick_seconds: float = NEVER) -> None:
        self.client = connect(url, timeout_seconds=2 * NEVER)
        self.desk = Desk()
        self.desk.open(threads)
        self.waiter = Waiter(self.client, ScriptRunner(self.client), self.desk, tick_seconds=tick_seconds)
        self.threads: list[threading.Thread] = []

    def lane(self, name: str) -> Lane:
        lane = Lane(Queue(name=name, purpose="x", jobs={}))
        lane.bell.clear()
        return self.desk.admitted(lane)

    def wait(self, lane: Lane) -> threading.Thread:
        """Have the lane wait, in a thread of its own."""
        waiting = threading.Thread(target=self.waiter.wait, args=(lane, 60), daemon=True)
        waiting.start()
        self.threads.append(waiting)
        return waiting

    def close(self) -> None:
        self.desk.close()
        self.waiter.close()
        for thread in self.threads:
            thread.join(10)
        self.client.close()


@pytest.fixture
def process(redis_server: RedisServer) -> Iterator[Process]:
    built = Process(redis_server.url)
    yield built
    built.close()


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


def blocked(client: redis.Redis) -> int:
    return sum(found["cmd"] == "blpop" for found in client.client_list())


def test_one_connection_blocks_for_all_lanes_and_wakes_the_one_that_was_rung_for(
    process: Process, client: redis.Redis, state: State
) -> None:
    lanes = [process.lane(f"test:q{number}") for number in range(5)]
    waiting = [process.wait(lane) for lane in lanes]
    until(lambda: blocked(client) == 1)

    for lane, thread in zip(lanes, waiting, strict=True):
        state.run(scripts.ring(lane.keys.wake))
        until(lambda: not thread.is_alive(), what="the lane to wake")  # noqa: B023
        assert [other.bell.is_set() for other in lanes] == [other is lane for other in lanes]
        lane.bell.clear()

    assert blocked(client) <= 1


def test_a_token_that_a_full_process_takes_goes_on_to_one_that_waits(
    process: Process, redis_server: RedisServer, state: State
) -> None:
    full = Process(redis_server.url, threads=0)
    full_lane, lane = full.lane("test:work"), process.lane("test:work")
    for _ in range(5):
        # It has waited, and now takes no more; yet it still listens.
        full.waiter.wait(full_lane, 0.01)
        waiting = process.wait(lane)
        state.run(scripts.ring(lane.keys.wake))
        until(lambda: not waiting.is_alive(), what="the lane that can take a job")  # noqa: B023
        assert lane.bell.is_set() and not full_lane.bell.is_set()
        lane.bell.clear()
    full.close()


def test_a_full_process_leaves_the_token_alone_until_it_waits_again(
    redis_server: RedisServer, client: redis.Redis, state: State
) -> None:
    full = Process(redis_server.url, threads=0)
    lane = full.lane("test:work")
    full.waiter.wait(lane, 0.01)
    until(lambda: blocked(client) == 1)

    state.run(scripts.ring(lane.keys.wake))
    until(lambda: not _listens(full, lane), what="the lane to be left out")
    until(lambda: client.lrange(lane.keys.wake, 0, -1) == ["1"], what="the token in its place")

    waiting = full.wait(lane)
    until(lambda: not waiting.is_alive(), what="the token to be taken")
    full.close()


def _listens(process: Process, lane: Lane) -> bool:
    (slot,) = process.waiter._slots.values()
    return slot._heard is None or lane in slot._heard


@pytest.mark.parametrize("place", ["waiting", "prioritized", "delayed"])
def test_what_no_token_told_of_is_found_at_the_next_look(
    redis_server: RedisServer, client: redis.Redis, place: str
) -> None:
    process = Process(redis_server.url, tick_seconds=0.05)
    lanes = [process.lane(f"test:q{number}") for number in range(3)]
    waiting = [process.wait(lane) for lane in lanes]
    until(lambda: blocked(client) == 1)

    key = getattr(lanes[1].keys, place)
    _ = client.rpush(key, "job-1") if place == "waiting" else client.zadd(key, {"job-1": 1})
    until(lambda: not waiting[1].is_alive(), what="the lane to wake")

    assert [lane.bell.is_set() for lane in lanes] == [False, True, False]
    process.close()


def test_while_the_process_shuts_down_consumers_do_not_spin(engine: Engine) -> None:
    consumer = JobConsumer(engine.broker, engine.broker.lane("test:work"), 100)
    engine.broker.desk.close()

    began = time.monotonic()
    assert [next(consumer), next(consumer)] == [None, None]

    assert time.monotonic() - began >= 0.1


def test_who_finds_all_connections_in_use_waits_for_one(redis_server: RedisServer, client: redis.Redis) -> None:
    narrow = connect(redis_server.url, max_connections=1)
    blocking = threading.Thread(target=narrow.blpop, args=(["test:bell"], 60))
    blocking.start()
    until(lambda: blocked(client) == 1)
    found: list[bool] = []
    asking = threading.Thread(target=lambda: found.append(narrow.ping()))
    asking.start()

    client.rpush("test:bell", "1")
    asking.join(30)

    assert found == [True]
    blocking.join(30)
    narrow.close()
