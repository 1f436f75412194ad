"""The operators' door: what it does, what it refuses, and what it writes down."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from teknav_ops import deletions
from teknav_ops.access.policy import Operator, Role
from teknav_ops.access.sessions import Sessions
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import (
    InvalidPayload,
    InvalidRequest,
    NotAllowed,
    PermanentError,
    StorageUnavailable,
    UnknownJob,
    WrongState,
)
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.databases import migrate
from tests.support.engine import Engine, dump
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY, Confide
from tests.support.waiting import until

SARA = Operator("sara", Role.OWNER)


@pytest.fixture
def records(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'r.sqlite3'}"
    migrate(url)
    return Database.open(url)


@pytest.fixture
def control(client: redis.Redis, records: Database, cipher: Cipher) -> Control:
    return Control(client, SARA, OperatorLog(records), cipher=cipher, topology=TOPOLOGY)  # type: ignore[arg-type]


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


def entries(records: Database) -> list[AuditLog]:
    with records.session() as session:
        return list(session.scalars(select(AuditLog).order_by(AuditLog.id)))


def test_a_full_redis_can_be_emptied(own_server: RedisServer, records: Database, cipher: Cipher) -> None:
    with own_server.client() as client:
        state = State(client)
        wanted, unwanted, _ = [state.dead() for _ in range(3)]
        client.config_set("maxmemory", 1)
        control = Control(client, SARA, OperatorLog(records), cipher=cipher, topology=TOPOLOGY)  # type: ignore[arg-type]

        control.pause(QUEUE)
        control.replay(QUEUE, wanted)
        control.delete(QUEUE, unwanted)
        assert control.purge(QUEUE, confirmation=QUEUE) == 1

        assert JobQueries(client, TOPOLOGY).counts(QUEUE).dlq == 0  # type: ignore[arg-type]
        new = Sessions(client, idle_minutes=480, hours=168).open("sara", Role.OWNER, user_id=1, epoch=1)  # type: ignore[arg-type]
        assert new.session.csrf_token


def test_every_action_is_recorded_with_name_and_outcome(
    control: Control, records: Database, state: State, queries: JobQueries
) -> None:
    control.pause(QUEUE)
    control.resume(QUEUE)
    control.configure(QUEUE, concurrency=2)
    delayed, waiting, dead, unwanted = (
        state.enqueue(delay_ms=60_000), state.enqueue(priority=9), state.dead(), state.dead(priority=-9)
    )  # fmt: skip
    control.promote(QUEUE, delayed)
    control.cancel(QUEUE, waiting)
    control.replay(QUEUE, dead)
    control.delete(QUEUE, unwanted)

    kept = [(entry.action, entry.actor, entry.outcome, entry.queue, entry.job_id) for entry in entries(records)]
    assert kept == [
        (action, "sara", "done", QUEUE, job_id)
        for action, job_id in (
            ("queue.paused", None),
            ("queue.resumed", None),
            ("queue.configured", None),
            ("job.promoted", delayed),
            ("job.cancelled", waiting),
            ("dlq.replayed", dead),
            ("dlq.deleted", unwanted),
        )
    ]
    assert queries.counts(QUEUE).concurrency == 2


@pytest.mark.parametrize("role", [Role.VIEWER])
def test_only_an_owner_may_act(
    client: redis.Redis, records: Database, cipher: Cipher, state: State, role: Role
) -> None:
    viewer = Control(
        client, Operator("ali", role), OperatorLog(records), cipher=cipher, topology=TOPOLOGY  # type: ignore[arg-type]
    )  # fmt: skip
    dead = state.dead()
    attempts = [
        lambda: viewer.pause(QUEUE), lambda: viewer.resume(QUEUE), lambda: viewer.configure(QUEUE, concurrency=1),
        lambda: viewer.replay(QUEUE, dead), lambda: viewer.retry(QUEUE, dead), lambda: viewer.promote(QUEUE, dead),
        lambda: viewer.cancel(QUEUE, dead), lambda: viewer.delete(QUEUE, dead),
        lambda: viewer.purge(QUEUE, confirmation=QUEUE),
        lambda: viewer.preview_replay(QUEUE, DeadLetterFilter(), limit=1),
        lambda: viewer.preview_deletion(QUEUE, DeadLetterFilter()),
        lambda: viewer.delete_listed(QUEUE, "x", reason="because"),
        lambda: viewer.run_replay(QUEUE, "x"), lambda: viewer.abort_replay(QUEUE, "x"),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(NotAllowed):
            attempt()
    assert entries(records) == []
    assert client.zcard(KEYS.dlq) == 1


def test_an_action_that_cannot_be_recorded_is_not_carried_out(
    client: redis.Redis, cipher: Cipher, state: State
) -> None:
    nowhere = Database.open("postgresql+psycopg://nobody@127.0.0.1:1/nowhere?connect_timeout=1")
    control = Control(client, SARA, OperatorLog(nowhere), cipher=cipher, topology=TOPOLOGY)  # type: ignore[arg-type]
    dead = state.dead()

    with pytest.raises(StorageUnavailable):
        control.replay(QUEUE, dead)

    assert state.places(dead) == ["failed"]
    nowhere.dispose()


def test_refusals_name_the_state_and_are_recorded_as_such(control: Control, records: Database, state: State) -> None:
    job_id = state.enqueue()
    state.fetch()

    for attempt, words in (
        (lambda: control.cancel(QUEUE, job_id), "is active; only waiting or delayed"),
        (lambda: control.promote(QUEUE, job_id), "is active; only delayed"),
        (lambda: control.replay(QUEUE, job_id), "is active; only failed"),
    ):
        with pytest.raises(WrongState, match=words):
            attempt()
    with pytest.raises(UnknownJob):
        control.delete(QUEUE, job_id)
    assert [entry.outcome for entry in entries(records)] == ["refused"] * 4


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("k", "the idempotency key 'k' of {} is job another's now"),
        (None, "{} is waiting; only failed jobs are replayed"),
    ],
)
def test_a_job_that_is_not_replayed_says_why(
    control: Control, client: redis.Redis, state: State, key: str | None, words: str
) -> None:
    job_id = state.dead(idempotency_key=key) if key else state.enqueue()
    client.set(KEYS.idempotency_family + "k", "another")

    with pytest.raises(WrongState, match=f"^job: {words.format(job_id)}"):
        control.replay(QUEUE, job_id)


def test_an_id_that_no_job_can_have_is_refused_before_anything_is_recorded(control: Control, records: Database) -> None:
    actions = (control.promote, control.cancel, control.retry, control.run_again, control.replay, control.delete)
    for action in actions:
        for job_id in ("", "x" * 65, "a\nb"):
            with pytest.raises(UnknownJob, match="no job has the id"):
                action(QUEUE, job_id)
    with pytest.raises(InvalidRequest, match="job_ids: must be a list"):
        control.preview_deletion(QUEUE, DeadLetterFilter(), job_ids="dead-1")
    with records.reading() as session:
        assert session.scalars(select(AuditLog)).all() == []


def test_two_operators_replaying_one_dead_letter_at_once_run_it_once(
    redis_server: object, records: Database, cipher: Cipher, state: State
) -> None:
    dead = [state.dead() for _ in range(20)]
    outcomes: list[str] = []
    start = threading.Barrier(2)

    def replay_all(name: str) -> None:
        with redis_server.client() as own:  # type: ignore[attr-defined]
            control = Control(own, Operator(name, Role.OWNER), OperatorLog(records), cipher=cipher, topology=TOPOLOGY)
            start.wait()
            for job_id in dead:
                try:
                    control.replay(QUEUE, job_id)
                    outcomes.append(job_id)
                except WrongState:
                    pass

    people = [threading.Thread(target=replay_all, args=(name,)) for name in ("sara", "ali")]
    for person in people:
        person.start()
    for person in people:
        person.join()

    assert sorted(outcomes) == sorted(dead)
    assert all(state.places(job_id) == ["waiting"] for job_id in dead)


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_command_line_with_a_wrong_clock_acts_by_the_servers(
    control: Control, state: State, queries: JobQueries, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    for _ in range(3):
        state.dead()
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3_600 * hours)

    plan = control.preview_replay(QUEUE, DeadLetterFilter(), limit=1)
    assert control.purge(QUEUE, confirmation=QUEUE) == 3
    control.pause(QUEUE)

    now_ms = queries.counts(QUEUE).at_ms
    assert 0 <= now_ms - int(state.client.hget(KEYS.control, "paused") or 0) < 600_000
    assert abs(now_ms - plan.created_at.timestamp() * 1000) < 600_000


def test_an_edited_payload_is_validated(control: Control, state: State, queries: JobQueries) -> None:
    job_id = state.dead()

    with pytest.raises(InvalidPayload, match="number: "):
        control.replay(QUEUE, job_id, data={"number": "x"})
    assert state.places(job_id) == ["failed"]

    control.replay(QUEUE, job_id, data={"number": 5})
    assert queries.get(QUEUE, job_id).payload == {"number": 5}


def test_an_edit_keeps_the_secrets_that_the_editor_saw_as_dots(
    control: Control, producer: Producer, engine: Engine, queries: JobQueries, client: redis.Redis
) -> None:
    seen: list[tuple[str, str]] = []

    def refuse_the_first(job: Confide, ctx: JobContext[None]) -> None:
        seen.append((job.secret.get_secret_value(), job.note))
        if job.note == "wrong":
            raise PermanentError("the note is wrong")

    engine.behaviour = refuse_the_first
    job_id = producer.enqueue(QUEUE, "confide", {"secret": "hunter2", "note": "wrong"}).job_id
    with engine.working():
        until(lambda: queries.counts(QUEUE).dlq == 1)
        shown = queries.get(QUEUE, job_id).payload
        with pytest.raises(InvalidPayload, match="note: is ••••"):
            control.replay(QUEUE, job_id, data={**shown, "note": "••••"})
        control.replay(QUEUE, job_id, data={**shown, "note": "right"})
        engine.broker.join(QUEUE, timeout=30_000)

    assert seen == [("hunter2", "wrong"), ("hunter2", "right")]
    assert "hunter2" not in str(dump(client))


def test_a_batch_replay_acts_on_its_frozen_list(control: Control, records: Database, state: State) -> None:
    frozen = [state.dead() for _ in range(5)]
    plan = control.preview_replay(QUEUE, DeadLetterFilter(error_type="ValueError"), limit=4)
    later = state.dead()
    seen: list[int] = []

    done = control.run_replay(QUEUE, plan.id, on_progress=lambda now: seen.append(now.done_count))

    assert plan.total_count == 4 and plan.counts_by_error_type == {"ValueError": 4}
    assert (done.state, done.replayed_count, done.skipped_count) == ("finished", 4, 0)
    assert seen[-1] == 4
    # Which four is open where several failed within one millisecond.
    places = [state.places(job_id) for job_id in frozen]
    assert sorted(places) == [["failed"], *[["waiting"]] * 4]
    assert state.places(later) == ["failed"]
    with pytest.raises(WrongState, match="finished"):
        control.run_replay(QUEUE, plan.id)
    started, ended = entries(records)
    assert (started.action, started.detail) == (
        "dlq.replay_started", {"replay": plan.id, "name": "", "total": 4, "rate": None, "changed": True}
    )  # fmt: skip
    assert (ended.action, ended.detail) == (
        "dlq.batch_replayed", {"replay": plan.id, "state": "finished", "replayed": 4, "skipped": 0}
    )  # fmt: skip


def test_a_job_that_failed_again_meanwhile_is_skipped(control: Control, state: State) -> None:
    job_id = state.dead()
    plan = control.preview_replay(QUEUE, DeadLetterFilter(), limit=10)
    control.replay(QUEUE, job_id)
    state.client.hset(KEYS.job(job_id), "x", 1)
    (delivery,) = state.fetch()
    state.dead_letter(delivery)
    state.client.hset(KEYS.job(job_id), "finished_at_ms", 1)

    done = control.run_replay(QUEUE, plan.id)

    assert (done.replayed_count, done.skipped_count) == (0, 1)
    assert state.places(job_id) == ["failed"]


def test_a_batch_replay_is_aborted_and_keeps_its_rate(control: Control, state: State) -> None:
    for _ in range(30):
        state.dead()
    plan = control.preview_replay(QUEUE, DeadLetterFilter(), limit=30)

    def stop_after_ten(now: Replay) -> None:
        if now.done_count >= 10 and now.state == "running":
            control.abort_replay(QUEUE, plan.id)

    done = control.run_replay(QUEUE, plan.id, rate_per_second=10, on_progress=stop_after_ten)

    assert done.state == "aborted"
    assert 10 <= done.done_count <= 20


def test_an_interrupted_batch_replay_goes_on_where_it_stood(control: Control, state: State) -> None:
    dead = [state.dead() for _ in range(6)]
    plan = control.preview_replay(QUEUE, DeadLetterFilter(), limit=10)

    def die(now: Replay) -> None:
        if now.done_count == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control.run_replay(QUEUE, plan.id, rate_per_second=2, on_progress=die)
    done = control.run_replay(QUEUE, plan.id)

    assert (done.state, done.replayed_count) == ("finished", 6)
    assert all(state.places(job_id) == ["waiting"] for job_id in dead)


def test_a_replay_whose_process_died_leaves_no_request_beside_its_end(
    control: Control, records: Database, state: State
) -> None:
    for _ in range(3):
        state.dead()
    plan = control.preview_replay(QUEUE, DeadLetterFilter())
    is_stuck, goes_on = threading.Event(), threading.Event()

    def hang(now: Replay) -> None:
        is_stuck.set()
        goes_on.wait()

    silent = threading.Thread(target=control.run_replay, args=(QUEUE, plan.id), kwargs={"on_progress": hang})
    silent.start()
    is_stuck.wait()
    state.client.hset(KEYS.replay(plan.id), "runner_until_ms", 1)
    control.run_replay(QUEUE, plan.id)

    actions = [(entry.action, entry.outcome) for entry in entries(records) if (entry.detail or {}).get("replay")]
    goes_on.set()
    silent.join()
    assert actions.count(("dlq.batch_replayed", "done")) == 1
    assert {outcome for _, outcome in actions} == {"done"}


def test_purging_needs_the_queues_name(control: Control, state: State) -> None:
    for _ in range(3):
        state.dead()

    with pytest.raises(InvalidRequest, match="type test:work"):
        control.purge(QUEUE, confirmation="yes")
    assert state.client.zcard(KEYS.dlq) == 3
    assert control.purge(QUEUE, confirmation=QUEUE) == 3
    assert state.client.zcard(KEYS.dlq) == 0
    assert list(state.client.scan_iter(KEYS.dlq_record("*"))) == list(state.client.scan_iter(KEYS.dlq_type("*"))) == []


@pytest.mark.parametrize("action", ["dlq.batch_deleted", "dlq.purged"])
def test_a_deletion_that_fails_at_once_says_that_none_is_deleted(
    control: Control, records: Database, state: State, action: str
) -> None:
    state.dead()
    plan = control.preview_deletion(QUEUE, DeadLetterFilter())
    read_first = KEYS.dlq if action == "dlq.purged" else KEYS.deletion_ids(plan.id)
    state.client.delete(read_first)
    state.client.set(read_first, "of another tool")

    with pytest.raises(redis.ResponseError):
        if action == "dlq.purged":
            control.purge(QUEUE, confirmation=QUEUE)
        else:
            control.delete_listed(QUEUE, plan.id, reason="spam")

    (entry,) = entries(records)
    assert (entry.action, entry.outcome, (entry.detail or {})["deleted"]) == (action, "failed", 0)


@pytest.mark.parametrize("limit", [0, -1, 1_000_000_000])
def test_a_batch_has_bounds(control: Control, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit"):
        control.preview_replay(QUEUE, DeadLetterFilter(), limit=limit)


def test_a_batch_deletion_takes_just_its_frozen_list_for_a_reason(
    control: Control, records: Database, state: State
) -> None:
    frozen = [state.dead() for _ in range(4)]
    plan = control.preview_deletion(QUEUE, DeadLetterFilter(error_type="ValueError"), limit=3)
    assert (plan.extent, plan.counts_by_error_type) == ("3 of 4 dead letters that match", {"ValueError": 3})
    later = state.dead()
    anew = str(state.client.lindex(KEYS.deletion_ids(plan.id), 0)).partition("|")[0]
    state.client.zincrby(KEYS.dlq, 1, anew)
    for reason in ("", " ", "\u202e", "…", "a\nb", "x" * 301):
        with pytest.raises(InvalidRequest, match="reason: "):
            control.delete_listed(QUEUE, plan.id, reason=reason)
    assert state.client.zcard(KEYS.dlq) == 5 and entries(records) == []

    done, again = (control.delete_listed(QUEUE, plan.id, reason=" the files are gone ") for _ in range(2))

    assert again == done
    assert (done.state, done.deleted_count, done.skipped_count) == ("finished", 2, 1)
    assert set(state.client.zrange(KEYS.dlq, 0, -1)) >= {later, anew}
    assert state.client.zcard(KEYS.dlq) == len(frozen) + 1 - 2
    (entry,) = entries(records)
    assert (entry.action, entry.outcome, entry.detail) == (
        "dlq.batch_deleted", "done",
        {"deletion": plan.id, "reason": "the files are gone", "total": 3, "deleted": 2, "skipped": 1},
    )  # fmt: skip
    told = [fields for _, fields in state.client.xrange(KEYS.audit) if fields["action"] == "dlq.deleted"]
    assert [(fields["actor"], fields["detail"]) for fields in told] == [("sara", "the files are gone")] * 2


def test_a_deletion_whose_process_died_goes_on_with_the_rest(
    control: Control, records: Database, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "_CHUNK", 2)
    dead = [state.dead() for _ in range(5)]
    plan = control.preview_deletion(QUEUE, DeadLetterFilter(), job_ids=[*dead, "ghost"])

    def die(done_count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        control.delete_listed(QUEUE, plan.id, reason="spam", on_progress=die)
    assert set(state.client.zrange(KEYS.dlq, 0, -1)) == set(dead[2:])
    assert state.actions().count("dlq.deleted") == 2
    done = control.delete_listed(QUEUE, plan.id, reason="spam")

    assert (plan.total_count, plan.missing_count) == (5, 1)
    assert (done.state, done.deleted_count, done.skipped_count) == ("finished", 5, 0)
    assert state.actions().count("dlq.deleted") == 5
    told = [(entry.outcome, (entry.detail or {}).get("deleted")) for entry in entries(records)]
    assert told == [("failed", 2), ("done", 3)]
    assert not state.client.exists(KEYS.deletion_ids(plan.id))
    assert state.client.ttl(KEYS.deletion(plan.id)) > 0


def test_damaged_letters_are_deleted_with_the_others(control: Control, state: State) -> None:
    damaged, unreadable, _ = (state.dead() for _ in range(3))
    state.client.hdel(KEYS.dlq_record(damaged), "failedAt", "errorType")
    state.client.delete(KEYS.dlq_record(unreadable))
    state.client.set(KEYS.dlq_record(unreadable), "not a record")

    chosen = control.preview_deletion(QUEUE, DeadLetterFilter(), job_ids=[damaged])
    control.delete_listed(QUEUE, chosen.id, reason="damaged")
    every = control.preview_deletion(QUEUE, DeadLetterFilter())
    done = control.delete_listed(QUEUE, every.id, reason="all of it")

    assert (chosen.total_count, every.total_count, done.deleted_count) == (1, 2, 2)
    assert state.client.zcard(KEYS.dlq) == 0
