"""Hundreds of queues in one process: connections and commands do not grow with them, and a job is taken at once."""

from __future__ import annotations

import pytest
import redis

from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import Queue, Topology
from tests.support.cluster import one_node
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.topology import Work
from tests.support.waiting import until

COUNT = 200
MANY = Topology(
    *(Queue(name=f"test:q{number}", purpose="One of many.", jobs={f"work{number}": Work}) for number in range(COUNT))
)


def calls(client: redis.Redis, *names: str) -> int:
    """How often the server ran commands of these names, or any; what it was asked by this count is left out."""
    stats = client.info("commandstats")
    counted = {name.removeprefix("cmdstat_"): facts["calls"] for name, facts in stats.items()}
    return sum(count for name, count in counted.items() if (name in names if names else name != "info"))


def test_two_hundred_idle_queues_cost_few_connections_and_commands_and_each_takes_its_job(
    redis_server: RedisServer, cipher: Cipher, client: redis.Redis
) -> None:
    engine = Engine(redis_server.url, cipher, topology=MANY)
    producer = Producer(client, cipher=cipher, topology=MANY)  # type: ignore[arg-type]
    lanes = [engine.broker.lane(name) for name in MANY]
    connections = len(client.client_list())

    with engine.working(threads=4):
        until(lambda: client.zcard(QueueKeys(f"test:q{COUNT - 1}").workers), what="the first heartbeat")
        until(lambda: not any(lane.may_have_work() for lane in lanes), what="a look into each queue")
        began, blocked = calls(client), calls(client, "blpop")
        until(lambda: calls(client, "blpop") >= blocked + 10, what="ten ticks")
        ticks, idle_calls = calls(client, "blpop") - blocked, calls(client) - began
        for number in range(0, COUNT, 20):
            producer.enqueue(f"test:q{number}", f"work{number}", {"number": number})
        until(lambda: len(engine.runs) == 10, what="a job from each of ten queues")
        opened = len(client.client_list()) - connections

    engine.close()
    # A block and a look each tick; the rest is for a tick that has begun, and for a heartbeat of two hundred queues
    # that say nothing.
    assert idle_calls <= 2 * ticks + 20
    # What consumers share is bounded; one waits for all of them.
    assert opened <= 60


def test_a_heartbeat_of_idle_queues_is_a_few_commands(
    redis_server: RedisServer, cipher: Cipher, client: redis.Redis
) -> None:
    engine = Engine(redis_server.url, cipher, topology=MANY, lease_seconds=600)
    for name in MANY:
        engine.broker.lane(name)
    keeper = engine.broker.lease_keeper
    keeper.beat()

    before = calls(client)
    keeper.beat()

    assert calls(client) - before < 10
    assert client.zcard(QueueKeys("test:q0").workers) == 1
    engine.close()


def test_on_a_cluster_commands_do_not_grow_with_the_slots_either(cipher: Cipher) -> None:
    some = Topology(*list(MANY.values())[:60])
    with one_node() as node:
        url = f"redis+cluster://127.0.0.1:{node.port}"
        engine = Engine(url, cipher, topology=some, lease_seconds=600)
        producer = Producer(connect(url), cipher=cipher, topology=some)
        lanes, keeper = [engine.broker.lane(name) for name in some], engine.broker.lease_keeper
        with engine.working(threads=2):
            # As often as ten slots that are each looked at once a tick of a tenth of a second.
            until(lambda: engine.broker.waiter.tick_seconds == pytest.approx(0.6), what="a wait in each slot")
            until(lambda: len(keeper._told_at) == 60, what="a heartbeat of each queue")
            assert keeper._due(lanes) == []
            # What dead workers left is taken up where anything is active; the script for it asks for the list's head.
            assert calls(node.client(), "lindex") == 0
            producer.enqueue("test:q59", "work59", {"number": 59})
            until(lambda: engine.runs, what="a job from one of sixty slots")
        lanes[7].held["a job"] = 1
        assert keeper._due(lanes) == [lanes[7]]
        engine.close()


def test_an_idle_queue_hears_again_that_its_worker_lives(engine: Engine, client: redis.Redis) -> None:
    keys, keeper = QueueKeys("test:work"), engine.broker.lease_keeper
    engine.broker.lane("test:work")
    keeper.beat()
    client.zadd(keys.workers, dict.fromkeys(client.zrange(keys.workers, 0, -1), 1))

    keeper._idle_beat_seconds = 0
    keeper.beat()

    assert client.zrange(keys.workers, 0, -1, withscores=True)[0][1] > 1_700_000_000_000
