"""Redis answers but takes no writes: it is full, cannot save, or a part of it is away. No job is lost or run twice."""

from __future__ import annotations

import shutil
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from teknav_ops.engine.middleware import retry
from teknav_ops.errors import RedisUnavailable
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.refusals import RefusedForNow
from tests.conftest import SECRET_KEY
from tests.support.cluster import begin_to_move, is_whole, one_node, three_nodes
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until

LEASE_SECONDS = 1.0
Trouble = Callable[[redis.Redis], Callable[[], object]]


def no_replica(client: redis.Redis) -> Callable[[], object]:
    client.config_set("min-replicas-to-write", 1)
    return lambda: client.config_set("min-replicas-to-write", 0)


def no_disk(client: redis.Redis) -> Callable[[], object]:
    shutil.rmtree(client.config_get("dir")["dir"])
    client.config_set("save", "3600 1")
    client.bgsave()
    until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="a save that fails")
    return lambda: client.config_set("save", "")


def no_slot(client: redis.Redis) -> Callable[[], object]:
    client.execute_command("CLUSTER DELSLOTSRANGE", 0, 9)
    until(lambda: not is_whole(client), what="a Cluster that is down")
    return lambda: client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 9)


def producer_on(url: str) -> Producer:
    return Producer(
        connect(url, timeout_seconds=1), cipher=Cipher([SECRET_KEY]), topology=TOPOLOGY, timeout_seconds=0.5
    )


def run_through(url: str, begin: Callable[[], Callable[[], object]]) -> tuple[Engine, Producer]:
    """Twelve jobs, four of which run while writes are refused for longer than a lease; all end well, each run once."""
    engine, producer = Engine(url, Cipher([SECRET_KEY]), lease_seconds=LEASE_SECONDS), producer_on(url)
    release = threading.Event()
    engine.behaviour = lambda job, ctx: release.wait(60) and None
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(12)])
    with engine.working(threads=4):
        until(lambda: len(engine.runs) == 4, what="four running jobs")
        end = begin()
        with pytest.raises(RedisUnavailable, match="0 jobs had been accepted"):
            producer.enqueue("test:work", "work", {"number": 12})
        engine.await_silence(leases=1)
        release.set()
        engine.await_silence(leases=3)
        end()
        engine.broker.join("test:work", timeout=60_000)
    counts = JobQueries(engine.broker.client, TOPOLOGY).counts("test:work")
    assert (counts.completed, counts.dlq, counts.active) == (12, 0, 0)
    assert set(Counter(job_id for job_id, _ in engine.runs).values()) == {1}
    return engine, producer


@pytest.mark.parametrize("trouble", [no_replica, no_disk])
def test_a_refusal_that_passes_is_waited_out(own_server: RedisServer, trouble: Trouble) -> None:
    engine, producer = run_through(own_server.url, lambda: trouble(own_server.client()))

    producer.enqueue("test:work", "work", {"number": 13})
    assert JobQueries(own_server.client(), TOPOLOGY).counts("test:work").waiting == 1  # type: ignore[arg-type]
    engine.close()


def frozen(server: RedisServer) -> Callable[[], object]:
    server.freeze()
    return server.thaw


def refusing(server: RedisServer) -> Callable[[], object]:
    return no_replica(server.client())


@pytest.mark.parametrize("trouble", [frozen, refusing])
def test_after_an_outage_nobody_takes_jobs_from_workers_that_lived_through_it(
    own_server: RedisServer, trouble: Callable[[RedisServer], Callable[[], object]]
) -> None:
    # Long enough for the holder to come back within one, on a machine that stalls.
    lease_seconds = 6.0
    holder, other = (Engine(own_server.url, Cipher([SECRET_KEY]), lease_seconds=lease_seconds) for _ in range(2))
    release = threading.Event()
    holder.behaviour = lambda job, ctx: release.wait(60) and None
    producer_on(own_server.url).enqueue_many("test:work", "work", [{"number": n} for n in range(4)])
    with holder.working(threads=4):
        until(lambda: len(holder.runs) == 4, what="four running jobs")
        with other.working(threads=4):
            end = trouble(own_server)
            # Now every lease is over, and the other's heartbeat comes first.
            holder.await_silence(leases=1.5)
            end()
            other.broker.lease_keeper.beat()
            other.await_right_to_reclaim()
            other.broker.lease_keeper.beat()
            assert other.runs == []
            release.set()
            holder.broker.join("test:work", timeout=60_000)

    assert len(holder.runs) == 4 and other.runs == []
    for engine in (holder, other):
        engine.close()


def test_a_job_that_cannot_be_marked_as_begun_is_begun_later(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two jobs have outlived a worker; Redis refuses just when the first is to be begun again."""
    state = State(own_server.client())
    ids = {state.enqueue(), state.enqueue()}
    state.fetch(2)
    state.expire_leases()
    state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=1_000, worker="w:2"))
    engine = Engine(own_server.url, Cipher([SECRET_KEY]))
    run, refusals = engine.broker.runner.run, iter([RefusedForNow("NOREPLICAS")])

    def refused_once(call: scripts.Call[Any]) -> Any:
        if call.script.name == "mark_started":
            for error in refusals:
                raise error
        return run(call)

    monkeypatch.setattr(engine.broker.runner, "run", refused_once)
    with engine.working():
        until(lambda: {job_id for job_id, _ in engine.runs} == ids, what="both jobs")
        engine.broker.join("test:work", timeout=30_000)
    assert len(engine.runs) == 2
    engine.close()


def test_a_cluster_that_is_down_is_waited_out() -> None:
    with one_node() as node:
        engine, _ = run_through(f"redis+cluster://127.0.0.1:{node.port}", lambda: no_slot(node.client()))
        engine.close()


def test_a_slot_that_lies_on_two_nodes_while_it_moves_is_waited_out() -> None:
    with three_nodes() as nodes:
        url = f"redis+cluster://127.0.0.1:{nodes[0].port}"
        engine, producer = run_through(url, lambda: begin_to_move(KEYS.waiting, nodes))
        assert producer.enqueue("test:work", "work", {"number": 13}).is_new
        engine.close()


def test_a_full_redis_takes_no_new_job_and_ends_those_it_has(own_server: RedisServer) -> None:
    client = own_server.client()
    engine = Engine(own_server.url, Cipher([SECRET_KEY]), lease_seconds=LEASE_SECONDS)
    producer = producer_on(own_server.url)
    release = threading.Event()

    def behave(job: object, ctx: object) -> None:
        release.wait(60)
        if job.number == 3:  # type: ignore[attr-defined]
            raise ValueError("no")

    engine.behaviour = behave
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(40)])
    with engine.working(threads=4):
        until(lambda: len(engine.runs) == 4, what="four running jobs")
        client.config_set("maxmemory", 1)
        with pytest.raises(RedisUnavailable, match=r"full.*0 jobs had been accepted"):
            producer.enqueue("test:work", "work", {"number": 40})
        begun = engine.last_beat()
        until(lambda: engine.last_beat() > begun + 2 * LEASE_SECONDS, what="heartbeats for two leases")
        release.set()
        # Nobody makes room: the work that is there ends all the same, retries and dead letters too.
        engine.broker.join("test:work", timeout=60_000)

    counts = JobQueries(client, TOPOLOGY).counts("test:work")  # type: ignore[arg-type]
    assert (counts.completed, counts.dlq, counts.active) == (39, 1, 0)
    runs = Counter(job_id for job_id, _ in engine.runs)
    assert sorted(runs.values()) == [1] * 39 + [3]
    engine.close()


def test_a_job_that_enqueues_into_a_full_redis_waits_and_uses_no_attempt(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "AWAY_SNOOZE_MS", 100)
    client, producer = own_server.client(), producer_on(own_server.url)
    engine = Engine(own_server.url, Cipher([SECRET_KEY]))
    engine.behaviour = lambda job, ctx: producer.enqueue("test:other", "other", {"number": 2}) and None
    job_id = producer.enqueue("test:work", "work", {"number": 1}).job_id
    client.config_set("maxmemory", 1)
    with engine.working(queues={"test:work"}):
        # The queue's three attempts would be over by then.
        until(lambda: len(engine.runs) > 4, what="runs that could not enqueue")
        client.config_set("maxmemory", 0)
        engine.broker.join("test:work", timeout=60_000)

    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    assert queries.get("test:work", job_id).attempts_made == 1
    assert queries.counts("test:other").waiting == 1
    engine.close()
