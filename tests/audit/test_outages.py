"""SQL away, Redis restarted, two writers at once: everything in AuditLog, once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import redis
from sqlalchemy import delete, func, select

from teknav_ops.audit.writer import AuditWriter
from teknav_ops.errors import StorageUnavailable
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.runtime.duties import Duty, DutyThread
from teknav_ops.runtime.leader import LeaderLease
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from teknav_ops.storage.tables import AuditLog
from tests.support.engine import Engine
from tests.support.postgres_server import PostgresServer
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until


@contextmanager
def moving(url: str, database: Database, *, writers: int = 1) -> Iterator[None]:
    """The scheduler's duty at work, in this many leaders that all believe they lead."""
    threads = []
    for number in range(writers):
        client = connect(url, timeout_seconds=2)
        lease = LeaderLease(client, f"audit-{number}", lease_ms=600_000)
        lease.hold()
        writer = AuditWriter(client, database, TOPOLOGY)
        threads.append(DutyThread(Duty(name="audit", every_seconds=0.02, run=lambda w=writer: w.step() > 0), lease))  # type: ignore[misc]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(20)


@contextmanager
def repeating(step: Callable[[], object], *, every_seconds: float = 0.005) -> Iterator[None]:
    """`step` again and again, in a thread, while the block lasts; the pace bounds what a slow machine piles up."""
    stopped = threading.Event()

    def run() -> None:
        while not stopped.wait(every_seconds):
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(20)


def row_count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditLog)) or 0


def actions(database: Database) -> Counter[str]:
    with database.reading() as session:
        counted = session.execute(select(AuditLog.action, func.count()).group_by(AuditLog.action))
        return Counter(dict(counted.all()))  # type: ignore[arg-type]


def assert_everything_once(client: redis.Redis, database: Database) -> None:
    """As many rows as entries were ever added to the stream, and no entry twice."""
    with database.reading() as session:
        distinct = session.scalar(select(func.count(func.distinct(AuditLog.stream_id))))
    assert distinct == row_count(database) == client.xinfo_stream(KEYS.audit)["entries-added"]


def test_streams_hold_while_postgresql_is_dead_and_catch_up(
    redis_server: RedisServer, client: redis.Redis, cipher: Cipher, own_postgres: PostgresServer
) -> None:
    upgrade(own_postgres.url)
    database = Database.open(own_postgres.url)
    engine = Engine(redis_server.url, cipher)
    producer = Producer(connect(redis_server.url), cipher=cipher, topology=TOPOLOGY)
    enqueued: list[str] = []

    def enqueue() -> None:
        items = [{"number": number, "fail_times": 9 if number == 0 else 0} for number in range(20)]
        enqueued.extend(accepted.job_id for accepted in producer.enqueue_many("test:work", "work", items))

    def work(job: object, ctx: object) -> None:
        if getattr(job, "fail_times", 0):
            raise ValueError("as told")

    engine.behaviour = work
    with moving(redis_server.url, database), engine.working():
        with repeating(enqueue, every_seconds=0.05):
            until(lambda: row_count(database) > 200, what="rows under load")

            written = row_count(database)
            own_postgres.kill()
            completed = client.zcard(KEYS.completed)
            until(lambda: client.zcard(KEYS.completed) > completed + 100, what="jobs going on without SQL")
            held = client.xlen(KEYS.audit)
            until(lambda: client.xlen(KEYS.audit) > held + 200, what="streams that hold")

            own_postgres.start()
            until(lambda: row_count(database) > written + 200, seconds=60, what="rows again, still under load")
        engine.broker.join("test:work", timeout=60_000)
        until(lambda: client.xlen(KEYS.audit) == 0, seconds=60, what="catching up")
    engine.close()

    assert_everything_once(client, database)
    found = actions(database)
    failed = len(enqueued) // 20
    assert found["job.enqueued"] == len(enqueued)
    assert found["job.completed"] == len(enqueued) - failed
    assert (found["job.failed"], found["dlq.added"], found["job.retried"]) == (failed, failed, 2 * failed)
    database.dispose()


def test_streams_hold_while_postgresql_only_reads(
    redis_server: RedisServer, client: redis.Redis, own_postgres: PostgresServer
) -> None:
    upgrade(own_postgres.url)
    database = Database.open(own_postgres.url)
    writer, state = AuditWriter(connect(redis_server.url), database, TOPOLOGY), State(client)
    state.enqueue()
    writer.step()
    assert row_count(database) == 1

    own_postgres.reads_only("on")
    state.enqueue()
    with pytest.raises(StorageUnavailable, match="takes no writes"):
        writer.step()
    with pytest.raises(StorageUnavailable, match="takes no writes"), database.session() as session:
        session.execute(delete(AuditLog))
    assert row_count(database) == client.xlen(KEYS.audit) == 1

    own_postgres.reads_only("off")
    writer.step()
    assert_everything_once(client, database)
    database.dispose()


def test_a_redis_that_is_killed_again_and_again_costs_and_doubles_nothing(
    own_server: RedisServer, database: Database
) -> None:
    enqueued = 0
    client = own_server.client()
    state = State(client)
    with moving(own_server.url, database):
        for _ in range(4):
            for _ in range(150):
                state.enqueue()
                enqueued += 1
            until(lambda: row_count(database) > 0, what="rows")
            own_server.kill()
            own_server.start()
        until(lambda: client.xlen(KEYS.audit) == 0, seconds=30, what="catching up")

    with database.reading() as session:
        distinct = session.scalar(select(func.count(func.distinct(AuditLog.job_id))))
    assert distinct == row_count(database) == enqueued
    client.close()


def test_two_leaders_at_once_move_everything_once(
    redis_server: RedisServer, client: redis.Redis, database: Database
) -> None:
    state = State(client)
    with moving(redis_server.url, database, writers=2), repeating(state.enqueue):
        until(lambda: row_count(database) > 300, seconds=60, what="rows of both")
    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    assert client.xlen(KEYS.audit) == 0
    assert_everything_once(client, database)
