"""A completed or cancelled job is run again as a job of its own; a failed one is replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import InvalidPayload, UnknownJob, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads import codec
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.databases import migrate
from tests.support.engine import dump
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY


@pytest.fixture
def records(tmp_path: Path) -> Database:
    url = f"sqlite:///{tmp_path / 'r.sqlite3'}"
    migrate(url)
    return Database.open(url)


@pytest.fixture
def control(client: redis.Redis, records: Database, cipher: Cipher) -> Control:
    return Control(client, Operator("sara", Role.OWNER), OperatorLog(records), cipher=cipher, topology=TOPOLOGY)  # type: ignore[arg-type]


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


@pytest.mark.parametrize("ended", [JobState.COMPLETED, JobState.CANCELLED])
def test_it_is_another_job_of_the_same_name_payload_priority_and_trace(
    control: Control, producer: Producer, state: State, queries: JobQueries, records: Database, ended: JobState
) -> None:
    options = {"idempotency_key": "k", "priority": -3, "trace_id": "ab" * 16}
    first = producer.enqueue(QUEUE, "work", {"number": 7}, **options).job_id  # type: ignore[arg-type]
    if ended is JobState.COMPLETED:
        state.complete(*state.fetch())
    else:
        control.cancel(QUEUE, first)
    before = queries.get(QUEUE, first)

    accepted = control.run_again(QUEUE, first)

    again = queries.get(QUEUE, accepted.job_id)
    assert accepted.is_new and again.id != first and again.state is JobState.WAITING
    assert (again.name, again.payload, again.priority, again.trace_id) == ("work", {"number": 7}, -3, "ab" * 16)
    assert again.run_again_of == first and (again.idempotency_key == "k") == (ended is JobState.CANCELLED)
    assert queries.get(QUEUE, first) == before
    with records.session() as session:
        entry = session.scalars(select(AuditLog).where(AuditLog.action == "job.run_again")).one()
        assert (entry.actor, entry.job_id, entry.outcome) == ("sara", first, "done")
        assert entry.detail == {"new_job_id": again.id, "is_new": True}


def test_asked_twice_it_is_made_once_and_its_own_end_can_be_run_again(control: Control, state: State) -> None:
    first = state.enqueue()
    state.complete(*state.fetch())

    second, repeated = control.run_again(QUEUE, first), control.run_again(QUEUE, first)
    assert (repeated.job_id, repeated.is_new) == (second.job_id, False)

    control.cancel(QUEUE, second.job_id)
    assert control.run_again(QUEUE, first).is_new
    assert control.run_again(QUEUE, second.job_id).is_new


def test_its_secrets_are_its_own(
    control: Control, producer: Producer, client: redis.Redis, state: State, cipher: Cipher
) -> None:
    first = producer.enqueue(QUEUE, "confide", {"secret": "hunter2", "note": "n"}).job_id
    state.complete(*state.fetch())

    again = control.run_again(QUEUE, first).job_id

    stored = json.loads(client.hget(KEYS.job(again), "payload"))  # type: ignore[arg-type]
    opened = codec.unseal(stored, cipher, codec.Holder(QUEUE, "confide", again))
    assert opened["secret"] == "hunter2"
    with pytest.raises(InvalidPayload):
        codec.unseal(stored, cipher, codec.Holder(QUEUE, "confide", first))


@pytest.mark.parametrize("prepare", ["waiting", "delayed", "active", "failed"])
def test_what_has_not_ended_or_has_failed_is_refused(
    control: Control, client: redis.Redis, state: State, prepare: str
) -> None:
    if prepare == "failed":
        job_id = state.dead()
    else:
        job_id = state.enqueue(delay_ms=60_000 if prepare == "delayed" else 0)
        _ = state.fetch() if prepare == "active" else None
    before = dump(client)

    with pytest.raises(WrongState, match=f"{job_id} is {prepare}; only completed or cancelled jobs"):
        control.run_again(QUEUE, job_id)
    with pytest.raises(UnknownJob):
        control.run_again(QUEUE, "none")
    assert dump(client) == before


def test_a_payload_that_fits_its_model_no_more_is_refused(control: Control, client: redis.Redis, state: State) -> None:
    job_id = state.enqueue(payload='{"number":"seven"}')
    state.complete(*state.fetch())
    before = dump(client)

    with pytest.raises(InvalidPayload, match="number"):
        control.run_again(QUEUE, job_id)
    assert dump(client) == before
