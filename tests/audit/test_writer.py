"""From stream to AuditLog: everything, once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import Any

import pytest
import redis
from sqlalchemy import func, select

from teknav_ops.audit import writer as writer_module
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.redis_state.connection import connect
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.orders import TOPOLOGY
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State


def rows(database: Database) -> list[AuditLog]:
    with database.session() as session:
        return list(session.scalars(select(AuditLog).order_by(AuditLog.id)))


def test_entries_become_rows_and_leave_the_stream(client: redis.Redis, database: Database) -> None:
    state = State(client)
    job_id = state.dead(trace_id="ab" * 16)
    writer = AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]

    assert writer.drain() == 3
    assert writer.drain() == 0

    assert client.xlen(KEYS.audit) == 0
    written = rows(database)
    assert [row.action for row in written] == ["job.enqueued", "job.failed", "dlq.added"]
    failed = written[1]
    assert (failed.queue, failed.job_id, failed.job_name, failed.error_type) == (
        "test:work",
        job_id,
        "work",
        "ValueError",
    )
    assert (failed.attempt, failed.duration_ms, failed.fingerprint, failed.trace_id) == (1, 5.0, "f1", "ab" * 16)


def test_two_writers_at_once_double_nothing(client: redis.Redis, database: Database) -> None:
    state = State(client)
    for _ in range(50):
        state.enqueue()
    first, second = (AuditWriter(client, database, TOPOLOGY) for _ in range(2))  # type: ignore[arg-type]
    first.step()
    for _ in range(50):
        state.enqueue()
    second.step()
    first.step()

    assert len(rows(database)) == 100


def _move_and_die(redis_url: str, database_url: str, moment: str) -> None:
    database = Database.open(database_url)
    writer = AuditWriter(connect(redis_url), database, TOPOLOGY)
    if moment == "before commit":
        insert = writer_module.insert_rows

        def insert_and_die(*arguments: Any) -> None:
            insert(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        writer_module.insert_rows = insert_and_die
    else:
        writer._client.xtrim = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign, assignment, return-value]
    writer.step()


@pytest.mark.parametrize("moment", ["before commit", "before trim"])
def test_a_writer_killed_between_insert_and_trim_loses_and_doubles_nothing(
    redis_server: RedisServer, client: redis.Redis, database_url: str, database: Database, moment: str
) -> None:
    state = State(client)
    for _ in range(20):
        state.enqueue()
    process = multiprocessing.get_context("spawn").Process(
        target=_move_and_die, args=(redis_server.url, database_url, moment)
    )
    process.start()
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert client.xlen(KEYS.audit) == 20

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    assert client.xlen(KEYS.audit) == 0
    with database.session() as session:
        distinct = session.scalar(select(func.count(func.distinct(AuditLog.stream_id))))
    assert distinct == len(rows(database)) == 20
