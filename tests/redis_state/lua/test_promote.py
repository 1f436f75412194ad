"""promote.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


@pytest.mark.parametrize(("priority", "place"), [(0, "waiting"), (-2, "prioritized")])
def test_a_delayed_job_waits_at_its_place_now(state: State, priority: int, place: str) -> None:
    job_id = state.enqueue(delay_ms=60_000, priority=priority)

    assert state.run(scripts.promote(KEYS, job_id=job_id, actor="sara")) == "promoted"
    assert state.places(job_id) == [place]


def test_a_promoted_job_has_waited_since_then(state: State, clock: Clock) -> None:
    job_id = state.enqueue(delay_ms=60_000)
    clock.advance(7.25)

    state.run(scripts.promote(KEYS, job_id=job_id, actor="owner"))

    assert int(state.job(job_id)["ready_at_ms"]) == clock.now_ms


def test_other_states_are_refused(state: State) -> None:
    job_id = state.enqueue()
    before = dump(state.client)

    assert state.run(scripts.promote(KEYS, job_id=job_id, actor="sara")) == "waiting"
    assert state.run(scripts.promote(KEYS, job_id="ghost", actor="sara")) == ""
    assert dump(state.client) == before


def test_with_a_priority_it_goes_by_that_and_by_when_it_was_promoted(state: State, clock: Clock) -> None:
    for job_id in ("b-first", "a-second"):
        state.enqueue(id=job_id, priority=1, delay_ms=60_000)
    for job_id in ("b-first", "a-second"):
        state.run(scripts.promote(KEYS, job_id=job_id, actor="sara"))
        clock.advance(0.001)
    state.enqueue(id="arrived", priority=1)
    state.enqueue(id="urgent", delay_ms=0)

    assert [delivery.id for delivery in state.fetch(4)] == ["urgent", "b-first", "a-second", "arrived"]


def test_what_is_promoted_in_one_millisecond_has_turns_of_its_own(state: State, clock: Clock) -> None:
    turns = []
    for job_id in ("b-first", "a-second"):
        state.enqueue(id=job_id, delay_ms=60_000)
        state.run(scripts.promote(KEYS, job_id=job_id, actor="sara"))
        turns.append(float(state.job(job_id)["turn"]))

    assert clock.now_ms < turns[0] < turns[1] < clock.now_ms + 1
