"""One job's whole story."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import delete

from teknav_ops.audit.story import Story, story
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.errors import UnknownJob
from teknav_ops.redis_state import scripts
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.state import KEYS, State
from tests.support.tampering import without_guard
from tests.support.topology import TOPOLOGY

TRACE = "ab" * 16


def told(database: Database, client: redis.Redis, job_or_trace: str) -> Story:
    return story(database, client, TOPOLOGY, job_or_trace)  # type: ignore[arg-type]


@pytest.mark.each_database
def test_a_story_joins_auditlog_and_what_is_still_in_the_stream(client: redis.Redis, database: Database) -> None:
    state, writer = State(client), AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    job_id = state.dead(trace_id=TRACE)
    state.enqueue()
    writer.drain()
    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)]))

    whole = told(database, client, job_id)

    assert [entry.action for entry in whole.entries] == ["job.enqueued", "job.failed", "dlq.added", "job.replayed"]
    assert whole.is_complete
    (moved, waiting) = whole.entries[1], whole.entries[-1]
    assert (moved.id is None, moved.duration_ms, moved.detail) == (False, 5.0, {"text": "broken"})
    assert (waiting.id, waiting.actor, waiting.queue, waiting.trace_id) == (None, "sara", "test:work", TRACE)
    writer.drain()
    assert [entry.action for entry in told(database, client, job_id).entries][-1] == "job.replayed"
    assert told(database, client, "ghost") == Story([], True)


def test_an_entry_that_is_in_both_places_is_told_once(client: redis.Redis, database: Database) -> None:
    state, writer = State(client), AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    job_id = state.dead()
    writer._trim = lambda *_: None  # type: ignore[method-assign]
    writer.step()
    assert client.xlen(KEYS.audit) == 3

    entries = told(database, client, job_id).entries

    assert [entry.action for entry in entries] == ["job.enqueued", "job.failed", "dlq.added"]
    assert None not in [entry.id for entry in entries]


@pytest.mark.each_database
def test_a_trace_tells_the_story_of_all_its_jobs(client: redis.Redis, database: Database) -> None:
    state, writer = State(client), AuditWriter(client, database, TOPOLOGY)  # type: ignore[arg-type]
    first = state.dead(trace_id=TRACE)
    writer.drain()
    second = state.enqueue(trace_id=TRACE)
    state.enqueue(trace_id="cd" * 16)

    entries = told(database, client, TRACE).entries

    assert [(entry.job_id, entry.action) for entry in entries] == [
        (first, "job.enqueued"),
        (first, "job.failed"),
        (first, "dlq.added"),
        (second, "job.enqueued"),
    ]


@pytest.mark.each_database
def test_a_story_that_cannot_be_seen_whole_says_so(client: redis.Redis, database: Database) -> None:
    state = State(client)
    job_id = state.enqueue()
    with client.pipeline() as pipeline:
        for _ in range(5_000):
            pipeline.xadd(KEYS.audit, {"action": "job.enqueued", "job_id": "other"})
        pipeline.execute()

    assert told(database, client, job_id) == Story([], False)

    AuditWriter(client, database, TOPOLOGY).drain()  # type: ignore[arg-type]
    assert len(told(database, client, job_id).entries) == 1
    with without_guard(database), database.session() as session:
        session.execute(delete(AuditLog).where(AuditLog.job_id == job_id))
    assert told(database, client, job_id) == Story([], True)


@pytest.mark.parametrize("wrong", ["", "x" * 65, "a\0b", "a\udcff"])
def test_what_is_no_id_is_refused_by_name(client: redis.Redis, database: Database, wrong: str) -> None:
    with pytest.raises(UnknownJob, match="no job has the id"):
        told(database, client, wrong)
