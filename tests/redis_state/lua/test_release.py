"""release.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def test_jobs_go_back_to_the_front_in_their_order(state: State) -> None:
    ids = [state.enqueue() for _ in range(3)]
    held = [(delivery.id, delivery.delivery) for delivery in state.fetch(2)]

    assert state.run(scripts.release(KEYS, held=reversed(held))) == 2

    assert state.client.lrange(KEYS.waiting, 0, -1) == ids
    assert "lost" not in state.job(ids[0])


def test_a_job_that_is_someone_elses_is_left_alone(state: State) -> None:
    job_id = state.enqueue()
    state.fetch()
    before = dump(state.client)

    assert state.run(scripts.release(KEYS, held=[(job_id, 9)])) == 0
    assert dump(state.client) == before


def test_each_goes_back_to_its_place_whatever_the_order_it_is_named_in(state: State, clock: Clock) -> None:
    ids = [state.enqueue(priority=priority) for priority in (9, 0, -9, 0, 1)]
    clock.advance(1)
    due = state.enqueue(delay_ms=1_000)
    clock.advance(1)
    order = [delivery.id for delivery in state.fetch(10)]
    assert order == [ids[2], ids[1], ids[3], due, ids[4], ids[0]]
    later = state.enqueue()
    held = dict.fromkeys(sorted(order), 1)

    assert state.run(scripts.release(KEYS, held=held.items())) == 6

    assert [delivery.id for delivery in state.fetch(10)] == [*order[:4], later, *order[4:]]
