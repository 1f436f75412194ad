"""An idempotency key makes one job of one request; another request with it is refused, and what frees a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis
from cryptography.fernet import Fernet

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import IdempotencyConflict, WrongState
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Accepted
from teknav_ops.storage.database import Database
from tests.support.databases import migrate
from tests.support.engine import Engine, dump
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY


@pytest.mark.parametrize(
    ("job", "data", "field"),
    [
        ("work", {"number": 2}, "payload.number"),
        ("work", {"number": 1, "fail_times": 1}, "payload.fail_times"),
        ("work", {"number": 1, "seconds": 0.5}, "payload.seconds"),
        ("poison", {}, "job"),
        ("confide", {"secret": "x"}, "job"),
    ],
)
@pytest.mark.parametrize("first_state", ["waiting", "active", "completed", "failed"])
def test_a_used_key_with_another_request_is_refused_with_the_field(
    producer: Producer, client: redis.Redis, first_state: str, job: str, data: dict[str, Any], field: str
) -> None:
    first = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")
    state = State(client)
    for delivery in state.fetch() if first_state != "waiting" else ():
        {"active": lambda _: None, "completed": state.complete, "failed": state.dead_letter}[first_state](delivery)
    before = dump(client)

    with pytest.raises(IdempotencyConflict, match=f"'k' was used for job {first.job_id} .*{field} differs") as caught:
        producer.enqueue("test:work", job, data, idempotency_key="k")

    assert [name for name, _ in caught.value.fields] == [field] and caught.value.job_id == first.job_id
    assert dump(client) == before


@pytest.mark.parametrize(
    ("queue", "job", "data", "field"),
    [
        ("workflows:run", "run-workflow", '{"workflow": "w", "input": {"a": [%s]}}', r"payload\.input\.a\.0"),
        ("analytics:process", "process-events", '{"events": [{"a": %s}]}', r"payload\.events\.0\.a"),
        (
            "plugins:execute",
            "execute-plugin",
            '{"plugin": "p", "event": "e", "input": {"a": %s}}',
            r"payload\.input\.a",
        ),
    ],
)
def test_true_and_1_are_two_requests_and_1_and_1_0_are_one(
    client: redis.Redis, cipher: Cipher, queue: str, job: str, data: str, field: str
) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    first = producer.enqueue(queue, job, json.loads(data % "1"), idempotency_key="k")

    assert producer.enqueue(queue, job, json.loads(data % "1.0"), idempotency_key="k").job_id == first.job_id
    with pytest.raises(IdempotencyConflict, match=f"{field} differs"):
        producer.enqueue(queue, job, json.loads(data % "true"), idempotency_key="k")


def test_secrets_belong_to_the_request_and_are_not_told(producer: Producer) -> None:
    facts = {"secret": "hunter2", "note": "n"}
    first = producer.enqueue("test:work", "confide", facts, idempotency_key="k")

    assert producer.enqueue("test:work", "confide", facts, idempotency_key="k") == Accepted(first.job_id, is_new=False)
    with pytest.raises(IdempotencyConflict, match=r"payload\.secret") as caught:
        producer.enqueue("test:work", "confide", {**facts, "secret": "hunter3"}, idempotency_key="k")
    assert "hunter" not in str(caught.value) + str(caught.value.fields)


def test_a_key_whose_secrets_cannot_be_read_any_more_compares_the_rest(producer: Producer, client: redis.Redis) -> None:
    first = producer.enqueue("test:work", "confide", {"secret": "a", "note": "n"}, idempotency_key="k")
    other = Producer(client, cipher=Cipher([Fernet.generate_key().decode()]), topology=TOPOLOGY)  # type: ignore[arg-type]

    again = other.enqueue("test:work", "confide", {"secret": "b", "note": "n"}, idempotency_key="k")
    assert again == Accepted(first.job_id, is_new=False)
    with pytest.raises(IdempotencyConflict, match=r"payload\.note"):
        other.enqueue("test:work", "confide", {"secret": "a", "note": "m"}, idempotency_key="k")


def test_a_default_that_is_left_out_is_the_same_request(producer: Producer) -> None:
    producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")

    again = producer.enqueue("test:work", "work", {"number": 1, "fail_times": 0, "seconds": 0}, idempotency_key="k")

    assert not again.is_new


def test_an_operators_edit_does_not_change_what_the_key_stands_for(producer: Producer, client: redis.Redis) -> None:
    first = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")
    state = State(client)
    state.dead_letter(*state.fetch())
    edit = scripts.replay_dead_letters(KEYS, actor="o", failures=[(first.job_id, None)], payload='{"number":2}')
    state.run(edit)

    assert not producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k").is_new
    with pytest.raises(IdempotencyConflict):
        producer.enqueue("test:work", "work", {"number": 2}, idempotency_key="k")


def test_dramatiqs_own_messages_are_held_to_their_key_too(engine: Engine) -> None:
    def message(number: int) -> dramatiq.Message[Any]:
        return dramatiq.Message(
            queue_name="test:work", actor_name="work", args=(), kwargs={"number": number},
            options={"idempotency_key": "k"},
        )  # fmt: skip

    engine.broker.declare_queue("test:work")
    engine.broker.enqueue(message(1))
    engine.broker.enqueue(message(1))

    with pytest.raises(IdempotencyConflict, match=r"payload\.number"):
        engine.broker.enqueue(message(2))


def test_cancelling_frees_the_key_for_any_request(producer: Producer, client: redis.Redis) -> None:
    first = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")
    State(client).run(scripts.cancel(KEYS, job_id=first.job_id, actor="o", cancelled_kept=10))

    second = producer.enqueue("test:work", "work", {"number": 2}, idempotency_key="k")

    assert second.is_new and second.job_id != first.job_id


def test_deleting_a_dead_letter_frees_the_key(producer: Producer, client: redis.Redis) -> None:
    first = producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")
    state = State(client)
    state.dead_letter(*state.fetch())
    assert not producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k").is_new

    call = scripts.delete_dead_letters(KEYS, actor="o", action="dlq.deleted", failures=[(first.job_id, None)])
    state.run(call)

    assert producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k").is_new


def test_a_deleted_dead_letters_job_is_replayed_only_while_no_other_job_has_its_key(
    producer: Producer, client: redis.Redis, cipher: Cipher, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path / 'r.sqlite3'}"
    migrate(url)
    log = OperatorLog(Database.open(url))
    control = Control(client, Operator("sara", Role.OWNER), log, cipher=cipher, topology=TOPOLOGY)  # type: ignore[arg-type]
    state = State(client)

    def enqueue() -> Accepted:
        return producer.enqueue("test:work", "work", {"number": 1}, idempotency_key="k")

    first = enqueue().job_id
    state.dead_letter(*state.fetch())
    control.delete("test:work", first)
    second = enqueue().job_id

    with pytest.raises(WrongState, match=f"the idempotency key 'k' of {first} is job {second}'s now"):
        control.retry("test:work", first)
    assert state.places(first) == ["failed"]

    control.cancel("test:work", second)
    control.retry("test:work", first)
    assert enqueue() == Accepted(first, is_new=False)
    # Nor is the work done beside it by what was cancelled.
    assert control.run_again("test:work", second) == Accepted(first, is_new=False)
