"""From stream to AuditLog: everything, once."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from sqlalchemy import delete, select

from teknav_ops.audit import writer as writer_module
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.verify import verify
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.errors import StorageUnavailable
from teknav_ops.redis_state.connection import connect
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditCursor, AuditLog
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY


def verified_rows(database: Database) -> int:
    """How many rows the chain over them finds to be as they were written: all of them."""
    keys = LinkKeys([b"k" * 32])
    AuditSealer(database, keys, every_seconds=0).step()
    with source_of(database) as source:
        found = verify(source, keys)
    assert (found.is_intact, found.unsealed_count) == (True, 0)
    return found.row_count


def rows(database: Database) -> list[AuditLog]:
    with database.session() as session:
        return list(session.scalars(select(AuditLog).order_by(AuditLog.id)))


@pytest.mark.each_database
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


@pytest.mark.each_database
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


@pytest.mark.each_database
def test_each_of_two_writers_counts_what_it_moved_itself_and_drains_all_that_is_left(
    client: redis.Redis, database: Database
) -> None:
    state = State(client)
    first, second = (AuditWriter(client, database, TOPOLOGY) for _ in range(2))  # type: ignore[arg-type]
    for _ in range(20):
        state.enqueue()
    # Both know the cursor; the second has died, or slept, between commit and trim.
    second._trim = lambda keys, last_id: None  # type: ignore[method-assign]
    assert (first.step(), first.step()) == (20, 0)
    for _ in range(30):
        state.enqueue()
    assert second.step() == 30, "what the first had moved is not its own"
    for _ in range(5):
        state.enqueue()

    assert first.drain() == 5
    assert client.xlen(KEYS.audit) == 0
    assert len(rows(database)) == 55


def _move_and_die(redis_url: str, database_url: str, moment: str) -> None:
    database = Database.open(database_url)
    writer = AuditWriter(connect(redis_url), database, TOPOLOGY)
    place: Any = writer_module if moment == "before commit" else writer
    name = {"before commit": "insert_rows", "before trim": "_trim", "after trim": "_trim"}[moment]
    act = getattr(place, name)

    def act_and_die(*arguments: Any) -> None:
        if moment != "before trim":
            act(*arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(place, name, act_and_die)
    writer.step()


@pytest.mark.parametrize(("moment", "left_count"), [("before commit", 20), ("before trim", 20), ("after trim", 0)])
@pytest.mark.each_database
def test_a_writer_killed_at_any_moment_loses_and_doubles_nothing(
    redis_server: RedisServer,
    client: redis.Redis,
    database_url: str,
    database: Database,
    moment: str,
    left_count: int,
) -> None:
    state = State(client)
    for _ in range(20):
        state.enqueue()
    process = warm_python.start_function(_move_and_die, redis_server.url, database_url, moment)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL
    assert client.xlen(KEYS.audit) == left_count
    for _ in range(5):
        state.enqueue()

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    assert client.xlen(KEYS.audit) == 0
    assert len({row.stream_id for row in rows(database)}) == len(rows(database)) == 25
    assert verified_rows(database) == 25


def test_many_batches_keep_the_order_of_the_stream(
    client: redis.Redis, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "BATCH_LIMIT", 20)
    monkeypatch.setattr(writer_module, "_READ_LIMIT", 10)
    state = State(client)
    ids = [state.enqueue() for _ in range(445)]

    assert AuditWriter(client, database, TOPOLOGY).drain() == 445  # type: ignore[arg-type]

    assert [row.job_id for row in rows(database)] == ids
    at = [row.at for row in rows(database)]
    assert at == sorted(at)
    assert abs((at[-1] - datetime.now(UTC)).total_seconds()) < 60


@pytest.mark.each_database
def test_any_text_comes_through_as_it_is(client: redis.Redis, database: Database) -> None:
    text = "tab\there, line\nbreak, \\ back, \r, \\N, \\., 'quote', \"double\", خطای شبکه 🚀"
    client.xadd(KEYS.audit, {"action": "job.failed", "actor": text[:60], "error_type": text, "detail": text})
    client.xadd(KEYS.audit, {"action": "job.completed", "actor": "w:1"})

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    first, second = rows(database)
    assert (first.actor, first.error_type, first.detail) == (text[:60], text, {"text": text})
    assert (second.actor, second.error_type, second.detail) == ("w:1", None, None)


@pytest.mark.each_database
def test_an_entry_that_fits_no_row_holds_up_nothing(client: redis.Redis, database: Database) -> None:
    state = State(client)
    state.enqueue()
    client.xadd(KEYS.audit, {"action": "job.failed", "error_type": "E" * 500, "detail": "null\0 in it"})
    client.xadd(KEYS.audit, {"action": "job.failed", "attempt": "many", "duration_ms": "1e999", "actor": "nul\0l"})
    client.xadd(KEYS.audit, {"note": "no action"})
    client.xadd(KEYS.audit, {"action": "job.lost", "job_id": "from a strange time"}, id=f"{2**60}-0")
    state.enqueue()

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    assert client.xlen(KEYS.audit) == 0
    written = rows(database)
    assert [row.action for row in written] == [
        "job.enqueued",
        "job.failed",
        "job.failed",
        "unknown",
        "job.lost",
        "job.enqueued",
    ]
    assert (written[1].error_type or "")[:200] == "E" * 200
    assert written[1].detail == {"text": "null� in it"}
    assert (written[2].attempt, written[2].duration_ms) == (None, None)


@pytest.mark.each_database
def test_a_cursor_that_was_lost_doubles_nothing(client: redis.Redis, database: Database) -> None:
    state, writer = State(client), AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    writer._trim = lambda *_: None  # type: ignore[method-assign]
    for _ in range(10):
        state.enqueue()
    writer.step()
    with database.session() as session:
        session.execute(delete(AuditCursor))
    state.enqueue()

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]

    assert len(rows(database)) == 11
    assert client.xlen(KEYS.audit) == 0


def test_entries_whose_ids_are_behind_the_cursor_are_not_lost(client: redis.Redis, database: Database) -> None:
    """A Redis that lost its newest writes, on a host whose clock is behind, gives ids that were passed before."""
    writer = AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    client.xadd(KEYS.audit, {"action": "job.enqueued", "job_id": "before"}, id="2000-5")
    writer.drain()
    client.delete(KEYS.audit)
    client.xadd(KEYS.audit, {"action": "job.enqueued", "job_id": "behind"}, id="1000-0")
    client.xadd(KEYS.audit, {"action": "job.enqueued", "job_id": "ahead"}, id="3000-0")

    assert writer.drain() == 2

    assert [row.job_id for row in rows(database)] == ["before", "behind", "ahead"]
    assert client.xlen(KEYS.audit) == 0


@pytest.mark.each_database
def test_a_commit_whose_answer_was_lost_is_not_made_twice(client: redis.Redis, database: Database) -> None:
    state, writer = State(client), AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    state.enqueue()
    store = writer._store

    def store_and_lose_the_answer(batch: Any) -> None:
        store(batch)
        raise StorageUnavailable("the connection was lost")

    writer._store = store_and_lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(StorageUnavailable):
        writer.step()
    writer._store = store  # type: ignore[method-assign]
    state.enqueue()
    writer.drain()

    assert len(rows(database)) == 2
    assert client.xlen(KEYS.audit) == 0


def test_it_moves_no_further_than_it_may(client: redis.Redis, database: Database) -> None:
    state = State(client)
    for _ in range(3):
        state.enqueue()
    allowed: list[str | None] = [client.xrange(KEYS.audit)[1][0]]
    writer = AuditWriter(client, database, TOPOLOGY, told_up_to=lambda _: allowed[0])  # type: ignore[arg-type]

    assert writer.drain() == 2 and client.xlen(KEYS.audit) == 1
    allowed[0] = None
    assert writer.drain() == 1 and client.xlen(KEYS.audit) == 0
    assert len(rows(database)) == 3
