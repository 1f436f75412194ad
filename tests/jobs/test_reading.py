"""What is read from the fields that are stored: each field where it belongs, and what is said where it is missing."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from teknav_ops.errors import CorruptRecord
from teknav_ops.jobs.batch_deletion import Deletion, read_deletion
from teknav_ops.jobs.batch_replay import Replay, ReplayCause, extent_of, read_replay
from teknav_ops.jobs.dead_letter import DeadLetter, damaged_letter, read_dead_letter
from teknav_ops.jobs.queries import HEARTBEAT_MS
from teknav_ops.jobs.record import EPOCH, Attempt, JobRecord, damaged_record, read_record
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.worker_queries import HeldJob, WorkerProcess, WorkerQueries
from teknav_ops.redis_state import keys
from tests.support.state import KEYS, QUEUE
from tests.support.topology import TOPOLOGY


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


ATTEMPT = {
    "attempt": 1,
    "delivery": 2,
    "started_at": "1970-01-01T00:00:01Z",
    "duration_ms": 5.5,
    "worker": "w:1",
    "error_type": "ValueError",
    "error": "no",
    "stack": "line 1",
}
RECORD = {
    "name": "work",
    "state": "failed",
    "payload": '{"number": 7}',
    "priority": "-3",
    "idempotency_key": "once",
    "trace": "ab" * 16,
    "enqueued_at_ms": "1000",
    "due_at_ms": "2000",
    "fetched_at_ms": "3000",
    "started_at_ms": "3500",
    "finished_at_ms": "4000",
    "duration_ms": "500.5",
    "waited_ms": "2000",
    "attempts": "2",
    "delivery": "5",
    "lost": "1",
    "replays": "4",
    "worker": "w:1",
    "progress": "0.5",
    "progress_note": "half",
    "stuck_delivery": "5",
    "stuck_at_ms": "3900",
    "result": '{"words": 3}',
    "error_type": "ValueError",
    "error": "no",
    "fingerprint": "f00d",
    "options": '{"options": {"run_again_of": "earlier"}}',
    "attempt:5": json.dumps({**ATTEMPT, "delivery": 5}),
    "attempt:2": json.dumps(ATTEMPT),
}
READ = JobRecord(
    id="a",
    queue=QUEUE,
    name="work",
    state=JobState.FAILED,
    payload={"number": 7},
    priority=-3,
    idempotency_key="once",
    trace_id="ab" * 16,
    enqueued_at=at(1000),
    started_at=at(3500),
    finished_at=at(4000),
    duration_ms=500.5,
    waited_ms=2000,
    attempts_made=2,
    delivery=5,
    lost_count=1,
    replay_count=4,
    worker="w:1",
    progress=0.5,
    progress_note="half",
    result={"words": 3},
    error_type="ValueError",
    error="no",
    fingerprint="f00d",
    run_again_of="earlier",
    attempts=[Attempt.model_validate(ATTEMPT), Attempt.model_validate({**ATTEMPT, "delivery": 5})],
)
LETTER = {
    "originalQueue": QUEUE,
    "originalJobId": "a",
    "jobName": "work",
    "errorType": "ValueError",
    "error": "no",
    "stack": "line 1",
    "fingerprint": "f00d",
    "attemptsMade": "5",
    "failedAt": "4000",
    "payload": '{"number": 7}',
    "traceId": "ab" * 16,
}
REPLAY = {
    "name": "after the outage",
    "operator": "sara",
    "state": "finished",
    "created_at_ms": "1000",
    "started_by": "mina",
    "started_at_ms": "2000",
    "aborted_by": "vida",
    "ended_at_ms": "3000",
    "rate": "2.5",
    "total": "9",
    "matching": "12",
    "missing": "1",
    "done": "8",
    "replayed": "6",
    "has_outcome": "1",
    "completed": "3",
    "failed_again": "2",
    "cancelled": "1",
    "type:A|B": "9",
    "cause:A|B|f1": "4",
    "cause:A|B|f2": "5",
    "again:A|B|f1": "2",
    "skipped:gone": "1",
    "skipped:anew": "1",
}


def test_a_record_has_each_field_where_it_belongs() -> None:
    assert read_record(QUEUE, "a", RECORD) == READ


@pytest.mark.parametrize(
    ("state", "changes"),
    [
        ("completed", {}),
        ("active", {"started_at": at(3000), "duration_ms": None, "stuck_at": at(3900)}),
        ("delayed", {"due_at": at(2000)}),
        ("waiting", {}),
    ],
)
def test_what_a_record_says_of_a_run_depends_on_its_state(state: str, changes: dict[str, Any]) -> None:
    read = read_record(QUEUE, "a", {**RECORD, "state": state})

    assert read == READ.model_copy(update={"state": JobState(state), **changes})


def test_a_record_without_a_failure_says_nothing_of_the_run_before_while_it_waits() -> None:
    waits = {name: text for name, text in RECORD.items() if name not in ("error_type", "error", "fingerprint")}

    read = read_record(QUEUE, "a", {**waits, "state": "waiting"})

    assert (read.started_at, read.duration_ms, read.waited_ms) == (None, None, None)


def test_a_record_of_the_least_fields_has_defaults_for_the_rest() -> None:
    least = {"name": "work", "state": "waiting", "payload": "{}", "enqueued_at_ms": "1000"}

    assert read_record(QUEUE, "a", least) == JobRecord(
        id="a", queue=QUEUE, name="work", state=JobState.WAITING, payload={}, enqueued_at=at(1000)
    )
    for field in least:
        with pytest.raises(CorruptRecord, match=f"job a of {QUEUE}: .*{field}"):
            read_record(QUEUE, "a", {name: text for name, text in least.items() if name != field})


def test_an_attempt_that_cannot_be_read_is_one_that_says_so() -> None:
    read = read_record(QUEUE, "a", {**RECORD, "attempt:7": "{", "attempt:x": "[]"})

    assert [(attempt.delivery, attempt.error_type) for attempt in read.attempts] == [
        (0, "CorruptRecord"),
        (2, "ValueError"),
        (5, "ValueError"),
        (7, "CorruptRecord"),
    ]


def test_a_damaged_record_shows_what_is_left_of_it() -> None:
    error = CorruptRecord("x" * 2_000)

    shown = damaged_record(QUEUE, "a", RECORD, error)
    assert shown == JobRecord(
        id="a",
        queue=QUEUE,
        name="work",
        state=JobState.FAILED,
        payload='{"number": 7}',
        enqueued_at=at(1000),
        error_type="CorruptRecord",
        error=f"this record cannot be read: {error}"[:1_000],
    )
    assert damaged_record(QUEUE, "a", RECORD, error, JobState.WAITING).state is JobState.WAITING
    assert damaged_record(QUEUE, "a", {**RECORD, "state": "completed"}, error).state is JobState.COMPLETED
    nothing = damaged_record(QUEUE, "a", {"enqueued_at_ms": "1e30"}, error)
    assert (nothing.name, nothing.state, nothing.payload) == ("unreadable", JobState.FAILED, "")
    assert nothing.enqueued_at == EPOCH


def test_a_dead_letter_has_each_field_where_it_belongs() -> None:
    assert read_dead_letter("a", LETTER) == DeadLetter(
        original_queue=QUEUE,
        original_job_id="a",
        job_name="work",
        error_type="ValueError",
        error="no",
        stack="line 1",
        fingerprint="f00d",
        attempts_made=5,
        failed_at=at(4000),
        payload={"number": 7},
        trace_id="ab" * 16,
    )
    assert read_dead_letter("a", LETTER).failed_at_ms == 4000
    for field in LETTER:
        with pytest.raises(CorruptRecord, match=f"dead letter a: .*{field}"):
            read_dead_letter("a", {name: text for name, text in LETTER.items() if name != field})


def test_a_damaged_dead_letter_shows_what_is_left_of_it() -> None:
    error = CorruptRecord("x" * 2_000)

    shown = damaged_letter(QUEUE, "a", LETTER, error)
    assert shown == DeadLetter(
        original_queue=QUEUE,
        original_job_id="a",
        job_name="work",
        error_type="CorruptRecord",
        error=f"this dead letter cannot be read: {error}"[:1_000],
        stack="line 1",
        fingerprint="f00d",
        attempts_made=0,
        failed_at=at(4000),
        payload='{"number": 7}',
        trace_id="ab" * 16,
    )
    nothing = damaged_letter(QUEUE, "a", {}, error)
    assert (nothing.job_name, nothing.failed_at) == ("unreadable", EPOCH)
    assert (nothing.stack, nothing.fingerprint, nothing.payload, nothing.trace_id) == ("", "", "", "")


def test_a_replay_has_each_field_where_it_belongs() -> None:
    assert read_replay(QUEUE, "r", REPLAY) == Replay(
        id="r",
        queue=QUEUE,
        name="after the outage",
        operator="sara",
        state="finished",
        created_at=at(1000),
        started_by="mina",
        started_at=at(2000),
        aborted_by="vida",
        ended_at=at(3000),
        rate_per_second=2.5,
        total_count=9,
        matching_count=12,
        missing_count=1,
        done_count=8,
        replayed_count=6,
        counts_by_error_type={"A|B": 9},
        causes=[
            ReplayCause(error_type="A|B", fingerprint="f2", count=5),
            ReplayCause(error_type="A|B", fingerprint="f1", count=4),
        ],
        has_outcome=True,
        completed_count=3,
        failed_again_count=2,
        cancelled_count=1,
        failed_again=[ReplayCause(error_type="A|B", fingerprint="f1", count=2)],
        skipped_by_reason={"anew": 1, "gone": 1},
    )


def test_a_replay_of_the_least_fields_has_defaults_for_the_rest() -> None:
    least = {"operator": "sara", "state": "previewed", "created_at_ms": "1000", "total": "9"}

    assert read_replay(QUEUE, "r", least) == Replay(
        id="r", queue=QUEUE, operator="sara", state="previewed", created_at=at(1000), total_count=9, matching_count=9
    )


@pytest.mark.parametrize(
    ("total", "matching", "words"),
    [(1, 1, "1 job"), (1_000, 1_000, "1,000 jobs"), (0, 0, "0 jobs"), (1, 2_000, "1 of 2,000 jobs that match")],
)
def test_how_many_a_frozen_list_takes_and_of_how_many(total: int, matching: int, words: str) -> None:
    assert extent_of(total, matching) == words


def test_a_deletion_has_each_field_where_it_belongs() -> None:
    facts = {
        "operator": "sara",
        "state": "finished",
        "created_at_ms": "1000",
        "total": "9",
        "matching": "12",
        "missing": "1",
        "type:A|B": "9",
        "cause:A|B|f1": "9",
        "reason": "no such article",
        "deleted_by": "mina",
        "ended_at_ms": "3000",
        "deleted": "7",
    }

    assert read_deletion(QUEUE, "d", facts) == Deletion(
        id="d",
        queue=QUEUE,
        operator="sara",
        state="finished",
        created_at=at(1000),
        total_count=9,
        matching_count=12,
        missing_count=1,
        counts_by_error_type={"A|B": 9},
        causes=[ReplayCause(error_type="A|B", fingerprint="f1", count=9)],
        reason="no such article",
        deleted_by="mina",
        ended_at=at(3000),
        deleted_count=7,
    )


def test_the_job_that_is_stuck_longest_is_first(client: redis.Redis) -> None:
    for job_id, stuck_at_ms in (("a", 3_000), ("b", 2_000), ("c", 3_000), ("d", "")):
        client.zadd(KEYS.active, {job_id: 1})
        facts = {"worker": "w:1", "state": "active", "delivery": 1, "stuck_delivery": 1, "stuck_at_ms": stuck_at_ms}
        client.hset(KEYS.job(job_id), mapping=facts)

    stuck = WorkerQueries(client, TOPOLOGY).stuck()  # type: ignore[arg-type]

    assert [(job.job_id, job.stuck_at) for job in stuck] == [("b", at(2_000)), ("a", at(3_000)), ("c", at(3_000))]


def test_a_worker_is_shown_with_what_it_said_and_what_it_holds(client: redis.Redis) -> None:
    now = int(client.time()[0]) * 1_000
    beats = {"host:a:7": now - HEARTBEAT_MS // 2, "odd": now - HEARTBEAT_MS - 1, "h:x": now}
    client.zadd(KEYS.workers, beats)
    client.set(keys.worker("host:a:7"), json.dumps({"started_at_ms": 1_000, "thread_count": 8, "key_ids": ["k"]}))
    client.set(keys.worker("odd"), "[")
    client.set(keys.worker("h:x"), "[]")
    client.zadd(KEYS.active, {"a": 1, "b": 2})
    held = {"worker": "host:a:7", "name": "work", "fetched_at_ms": 3_000, "progress": 0.5, "progress_note": "half"}
    client.hset(KEYS.job("a"), mapping=held)
    client.hset(KEYS.job("b"), mapping={"name": "nobody's"})

    shown = WorkerQueries(client, TOPOLOGY).all()  # type: ignore[arg-type]

    running = [HeldJob(QUEUE, "a", "work", "host:a:7", at(3_000), 0.5, "half", None)]
    assert shown == [
        WorkerProcess("h:x", "h", None, None, at(now), True, None, [QUEUE], []),
        WorkerProcess("host:a:7", "host:a", 7, at(1_000), at(now - HEARTBEAT_MS // 2), True, 8, [QUEUE], running),
        WorkerProcess("odd", "odd", None, None, at(now - HEARTBEAT_MS - 1), False, None, [QUEUE], []),
    ]
    assert WorkerQueries(client, TOPOLOGY).key_ids() == {"host:a:7": ["k"]}  # type: ignore[arg-type]
