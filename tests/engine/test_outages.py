"""Redis dies, is unreachable, fails over, is a cluster: jobs survive and everyone reconnects."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from teknav_ops.errors import RedisUnavailable
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import Client, connect
from tests.conftest import SECRET_KEY
from tests.support.cluster import three_nodes
from tests.support.engine import Engine
from tests.support.folders import new_folder, remove_folder
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until
from tests.support.workers import Workers


def producer_on(url: str, *, timeout_seconds: float = 2.0, client: Client | None = None) -> Producer:
    client = client or connect(url, timeout_seconds=1)
    return Producer(client, cipher=Cipher([SECRET_KEY]), topology=TOPOLOGY, timeout_seconds=timeout_seconds)


def test_a_server_killed_under_load_and_started_again_has_lost_nothing(own_server: RedisServer, tmp_path: Path) -> None:
    workers = Workers(own_server.url, tmp_path, SECRET_KEY)
    producer = producer_on(own_server.url, timeout_seconds=30)
    workers.start()
    accepted = [producer.enqueue("test:work", "work", {"number": n, "seconds": 0.01}).job_id for n in range(100)]

    for _ in range(2):
        until(lambda: len(workers.recorded()) > 5)
        own_server.kill()
        own_server.start()
        accepted += [producer.enqueue("test:work", "work", {"number": n, "seconds": 0.01}).job_id for n in range(50)]

    queries = JobQueries(own_server.client(), TOPOLOGY)  # type: ignore[arg-type]
    until(lambda: queries.counts("test:work").completed == 200, seconds=60, what="all jobs")
    workers.stop_all()
    assert workers.recorded() == set(accepted)
    assert set(workers.happened().values()) == {1}


@pytest.mark.timeout(150)
def test_an_outage_of_several_leases_is_waited_out(own_server: RedisServer) -> None:
    engine = Engine(own_server.url, Cipher([SECRET_KEY]), lease_seconds=2)
    producer = producer_on(own_server.url)
    release = threading.Event()
    engine.behaviour = lambda job, ctx: release.wait(60) and None
    producer.enqueue_many("test:work", "work", [{"number": n} for n in range(8)])

    with engine.working(threads=4):
        until(lambda: len(engine.runs) == 4)
        own_server.freeze()
        release.set()
        begun = time.monotonic()
        with pytest.raises(RedisUnavailable, match="0 jobs had been accepted"):
            producer.enqueue("test:work", "work", {"number": 9})
        assert time.monotonic() - begun < 15
        # The longer, the more beats are missed.
        engine.await_silence(leases=scaled(4))
        own_server.thaw()
        engine.broker.join("test:work", timeout=60_000)

    counts = JobQueries(own_server.client(), TOPOLOGY).counts("test:work")  # type: ignore[arg-type]
    assert counts.completed >= 8 and counts.dlq == 0
    engine.close()


@pytest.fixture
def cluster() -> Iterator[list[RedisServer]]:
    with three_nodes() as nodes:
        yield nodes


def test_a_cluster_runs_jobs_on_queues_of_different_slots(cluster: list[RedisServer]) -> None:
    url = f"redis+cluster://127.0.0.1:{cluster[0].port}"
    engine, producer = Engine(url, Cipher([SECRET_KEY])), producer_on(url)
    engine.behaviour = lambda job, ctx: (_ for _ in ()).throw(ValueError("no")) if job.number == 13 else {"ok": True}

    with engine.working():
        for queue, job in (("test:work", "work"), ("test:other", "other")):
            producer.enqueue_many(queue, job, [{"number": n} for n in range(50)])
        for queue in ("test:work", "test:other"):
            engine.broker.join(queue, timeout=60_000)

    queries = JobQueries(engine.broker.client, TOPOLOGY)
    counts = queries.all_counts()
    assert [(c.completed, c.dlq) for c in counts.values()] == [(49, 1), (49, 1)]
    # Each queue lies whole on one node, and not both on the same.
    holders = [{node.port for node in cluster if list(node.client().scan_iter(f"teknav:{{{queue}}}:*"))}
               for queue in counts]  # fmt: skip
    assert [len(ports) for ports in holders] == [1, 1] and holders[0] != holders[1]
    engine.close()


def test_a_sentinel_names_the_primary_and_a_failover_is_followed(tmp_path: Path) -> None:
    folders = [new_folder() for _ in range(3)]
    primary = RedisServer(folders[0]).start()
    replica = RedisServer(folders[1], "--replicaof", f"127.0.0.1 {primary.port}").start()
    watch = folders[2] / "sentinel.conf"
    port = free_port()
    watch.write_text(
        f"port {port}\ndir {folders[2]}\nsentinel monitor main 127.0.0.1 {primary.port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 3000\n"
    )
    sentinel = RedisServer(folders[2])
    sentinel.port = port

    sentinel.process = subprocess.Popen(
        [sentinel.binary, str(watch), "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"redis+sentinel://127.0.0.1:{port}/main/0"
    try:
        with redis.Redis(port=port, decode_responses=True) as client:
            until(lambda: _replica_count(client) == 1, what="sentinel to see the replica")
        engine, producers = Engine(url, Cipher([SECRET_KEY])), connect(url, timeout_seconds=1)
        producer = producer_on(url, timeout_seconds=40, client=producers)
        with engine.working():
            producer.enqueue("test:work", "work", {"number": 1})
            until(lambda: len(engine.runs) == 1)
            primary.kill()
            producer.enqueue("test:work", "work", {"number": 2})
            until(lambda: len(engine.runs) >= 2)
        with replica.client() as promoted:
            assert promoted.info("replication")["role"] == "master"
        engine.close()
        producers.close()
        # Else its sockets to the Sentinel are open until somebody collects garbage.
        assert not open_sockets_to(port)
    finally:
        for server in (primary, replica, sentinel):
            server.stop()
        for folder in folders:
            remove_folder(folder)


def open_sockets_to(port: int) -> list[object]:
    return [found for found in psutil.Process().net_connections() if found.raddr and found.raddr.port == port]


def _replica_count(client: redis.Redis) -> int:
    try:
        return len(client.execute_command("SENTINEL REPLICAS", "main"))
    except redis.exceptions.RedisError:
        return 0
