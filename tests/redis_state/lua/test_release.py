"""release.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


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
