"""enqueue.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import NewJob
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def test_writes_the_record_the_queue_the_audit_entry_and_the_token(state: State) -> None:
    job_id = state.enqueue(trace_id="a" * 32)

    assert state.places(job_id) == ["waiting"]
    assert state.job(job_id)["state"] == "waiting"
    assert state.actions() == ["job.enqueued"]
    assert state.client.lrange(KEYS.wake, 0, -1) == ["1"]


@pytest.mark.parametrize(("facts", "place"), [({"delay_ms": 60_000}, "delayed"), ({"priority": -1}, "prioritized")])
def test_puts_the_job_where_it_waits(state: State, facts: dict[str, int], place: str) -> None:
    assert state.places(state.enqueue(**facts)) == [place]


def test_a_used_idempotency_key_is_refused_with_the_first_jobs_id(state: State) -> None:
    first = state.enqueue(idempotency_key="k")
    before = dump(state.client)
    job = NewJob(id="second", name="work", payload="{}", idempotency_key="k")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert (accepted.job_id, accepted.is_new) == (first, False)
    assert (accepted.first_name, accepted.first_payload) == ("work", '{"number": 1}')
    assert dump(state.client) == before
    assert 0 < state.client.pttl(KEYS.idempotency_family + "k") <= 86_400_000


def test_sending_the_same_job_again_writes_nothing_and_says_it_is_accepted(state: State) -> None:
    state.enqueue(id="one")
    before = dump(state.client)
    job = NewJob(id="one", name="work", payload="{}")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert (accepted.job_id, accepted.is_new) == ("one", True)
    assert dump(state.client) == before


def test_a_thousand_at_once_keep_their_order(state: State) -> None:
    jobs = [NewJob(id=f"{n:04}", name="work", payload="{}") for n in range(1_000)]

    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))

    assert state.client.lrange(KEYS.waiting, 0, -1) == [job.id for job in jobs]
    assert state.client.llen(KEYS.wake) == 1


def test_a_used_key_tells_of_the_request_and_not_of_an_operators_edit(state: State) -> None:
    first = state.dead(idempotency_key="k")
    for payload in ('{"number": 2}', '{"number": 3}'):
        state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(first, None)], payload=payload))
        (delivery,) = state.fetch()
        state.dead_letter(delivery)
    job = NewJob(id="second", name="work", payload="{}", idempotency_key="k")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert accepted.first_payload == '{"number": 1}'


@pytest.mark.parametrize("damage", ["gone", "no hash", "no name", "no payload"])
def test_a_used_key_whose_first_job_cannot_be_read_still_names_it(state: State, damage: str) -> None:
    first = state.enqueue(idempotency_key="k")
    if damage in ("no name", "no payload"):
        state.client.hdel(KEYS.job(first), damage.removeprefix("no "))
    else:
        state.client.delete(KEYS.job(first))
    if damage == "no hash":
        state.client.set(KEYS.job(first), "damaged")
    job = NewJob(id="second", name="work", payload="{}", idempotency_key="k")

    (accepted,) = state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=[job]))

    assert accepted == scripts.Accepted(first, is_new=False)


def test_jobs_of_one_millisecond_have_turns_of_their_own(state: State, clock: Clock) -> None:
    jobs = [NewJob(id=f"{9 - n}", name="work", payload="{}", priority=n % 2) for n in range(9)]
    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))

    turns = [float(state.job(job.id)["turn"]) for job in jobs]

    assert turns == sorted(set(turns)) and clock.now_ms < turns[0] < turns[-1] < clock.now_ms + 1
    assert state.client.zrange(KEYS.prioritized, 0, -1) == [job.id for job in jobs if job.priority]


def test_a_clock_that_steps_back_a_little_leaves_the_order_of_arrival(state: State, clock: Clock) -> None:
    first = state.enqueue(priority=1)
    clock.advance(-5)
    second = state.enqueue(priority=1)

    assert [delivery.id for delivery in state.fetch(2)] == [first, second]


def test_a_clock_that_was_far_ahead_is_forgotten(state: State, clock: Clock) -> None:
    clock.advance(86_400)
    state.enqueue()
    clock.advance(-86_400)

    assert float(state.job(state.enqueue())["turn"]) < clock.now_ms + 1


def test_a_delayed_job_leaves_the_turns_as_they_are_though_the_clock_is_behind(state: State, clock: Clock) -> None:
    first = state.enqueue(priority=1)
    clock.advance(-86_400)
    state.enqueue(delay_ms=60_000)
    clock.advance(86_399)
    second = state.enqueue(priority=1)

    assert [delivery.id for delivery in state.fetch(3)][-2:] == [first, second]


def test_a_job_sent_again_after_its_record_was_forgotten_is_known_by_its_idempotency_key(state: State) -> None:
    for _ in range(2):
        job_id = state.enqueue(id="first", idempotency_key="k")
        state.complete(*state.fetch(), kept=0)

    assert job_id == "first"
    assert state.actions() == ["job.enqueued", "job.completed"]
