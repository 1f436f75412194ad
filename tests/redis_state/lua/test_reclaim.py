"""reclaim.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def reclaim(state: State) -> scripts.Reclaimed:
    return state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=10_000, worker="w:2"))


def test_a_live_lease_is_left_alone(state: State) -> None:
    state.enqueue()
    state.fetch()
    before = dump(state.client)

    assert reclaim(state).returned_count == 0
    assert dump(state.client) == before


def test_an_expired_lease_puts_the_job_back_at_the_front(state: State, clock: Clock) -> None:
    first = state.enqueue()
    state.fetch()
    second = state.enqueue()
    clock.advance(30)

    assert reclaim(state).returned_count == 1
    assert state.client.lrange(KEYS.waiting, 0, -1) == [first, second]
    assert state.job(first)["lost"] == "1"


def test_what_comes_back_has_its_old_place_in_the_order(state: State, clock: Clock) -> None:
    ids = [state.enqueue(priority=priority) for priority in (9, 0, -9, 0, 9, -9, 0)]
    order = [delivery.id for delivery in state.fetch(6)]
    assert order == [ids[2], ids[5], ids[1], ids[3], ids[6], ids[0]]
    clock.advance(30)
    state.enqueue(priority=-9), state.enqueue(), state.enqueue(priority=9)

    assert reclaim(state).returned_count == 6

    again = [delivery.id for delivery in state.fetch(10)]
    assert [job_id for job_id in again if job_id in ids] == [*order, ids[4]]
    assert again.index(ids[5]) < 2 and again.index(ids[6]) < 6


def test_a_job_that_is_lost_again_and_again_has_waited_since_it_was_first_ready(state: State, clock: Clock) -> None:
    job_id = state.enqueue(delay_ms=10_000)
    clock.advance(10)
    for lost in range(1, 4):
        state.fetch()
        clock.advance(60)
        reclaim(state)
        counts = state.run(scripts.queue_counts(KEYS, heartbeat_ms=1))
        assert counts.oldest_waiting_age_ms == lost * 60_000

    state.fetch()
    assert state.job(job_id)["waited_ms"] == "180000"


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


def test_a_record_that_is_not_of_an_active_job_is_set_aside(state: State) -> None:
    ids = [state.enqueue() for _ in range(3)]
    state.fetch(3)
    state.expire_leases()
    state.client.hset(KEYS.job(ids[0]), "state", "completed")
    state.client.delete(KEYS.job(ids[1]))
    state.client.set(KEYS.job(ids[1]), "not a record")

    assert reclaim(state).returned_count == 1

    assert state.client.zrange(KEYS.active, 0, -1) == []
    assert set(state.client.zrange(KEYS.corrupt, 0, -1)) == set(ids[:2])
    assert state.places(ids[2]) == ["waiting"]


def test_jobs_of_earlier_versions_come_back_by_when_they_were_ready_or_made(state: State, clock: Clock) -> None:
    """Their records have no turn, and older ones still no time at which they were ready."""
    without_turn, made_only, with_turn = (state.enqueue() for _ in range(3))
    state.fetch(3)
    clock.advance(30)
    now_ms = clock.now_ms
    state.client.hdel(KEYS.job(without_turn), "turn")
    state.client.hset(KEYS.job(without_turn), mapping={"ready_at_ms": now_ms - 2_000, "enqueued_at_ms": now_ms})
    state.client.hdel(KEYS.job(made_only), "turn", "ready_at_ms")
    state.client.hset(KEYS.job(made_only), "enqueued_at_ms", now_ms - 1_000)
    state.client.hset(KEYS.job(with_turn), mapping={"turn": now_ms - 3_000, "ready_at_ms": now_ms})

    assert reclaim(state).returned_count == 3
    assert [delivery.id for delivery in state.fetch(3)] == [with_turn, without_turn, made_only]
