"""reclaim.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def reclaim(state: State) -> scripts.Reclaimed:
    return state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=10_000, worker="w:2"))


def test_a_live_lease_is_left_alone(state: State) -> None:
    state.enqueue()
    state.fetch()
    before = dump(state.client)

    assert reclaim(state).returned_count == 0
    assert dump(state.client) == before


def test_an_expired_lease_puts_the_job_back_at_the_front(state: State) -> None:
    first = state.enqueue()
    state.fetch()
    second = state.enqueue()
    state.expire_leases()

    assert reclaim(state).returned_count == 1
    assert state.client.lrange(KEYS.waiting, 0, -1) == [first, second]
    assert state.job(first)["lost"] == "1"


def test_a_job_that_was_never_begun_again_is_no_suspect(state: State) -> None:
    job_id = state.enqueue()
    for _ in range(5):
        state.fetch()
        state.expire_leases()
        reclaim(state)

    assert state.job(job_id)["lost"] == "1"
    assert state.places(job_id) == ["waiting"]


def test_the_third_death_hands_the_job_to_the_caller_to_bury(state: State) -> None:
    job_id = state.enqueue()
    for _ in range(2):
        (delivery,) = state.fetch()
        state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=delivery.delivery))
        state.expire_leases()
        assert reclaim(state).doomed == []
    (delivery,) = state.fetch()
    state.run(scripts.mark_started(KEYS, job_id=job_id, delivery=delivery.delivery))
    state.expire_leases()

    assert reclaim(state).doomed == [(job_id, 4, "w:1")]
    assert state.places(job_id) == ["active"]
    assert state.complete(delivery) == [0]
