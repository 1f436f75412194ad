"""move_replay.lua"""

from __future__ import annotations

from typing import Any

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def move(state: State, wanted: Any, *, by: str = "sara", rate: str = "") -> tuple[str, bool]:
    answer: tuple[str, bool] = state.run(
        scripts.move_replay(KEYS, "r1", wanted=wanted, by=by, rate=rate, kept_ms=60_000)
    )
    return answer


def given(state: State, now: str, **facts: str) -> None:
    state.client.hset(KEYS.replay("r1"), mapping={"state": now, **facts})
    state.client.rpush(KEYS.replay_ids("r1"), "j|1")


def test_starting_again_is_the_same_run(state: State) -> None:
    given(state, "previewed")

    assert move(state, "running", rate="5") == ("running", True)
    before = dump(state.client)
    assert move(state, "running", by="ali", rate="5") == ("running", False)

    assert dump(state.client) == before
    assert state.client.smembers(KEYS.replays_running) == {"r1"}
    started = state.client.hgetall(KEYS.replay("r1"))
    assert (started["started_by"], started["rate"]) == ("sara", "5")


def test_the_rate_of_a_running_one_is_changed_live(state: State) -> None:
    given(state, "running", rate="5", started_by="sara")

    assert move(state, "running", by="ali", rate="9") == ("running", True)

    assert state.client.hmget(KEYS.replay("r1"), ["rate", "started_by"]) == ["9", "sara"]


@pytest.mark.parametrize("ended", ["finished", "aborted", ""])
def test_what_has_ended_is_left_alone(state: State, ended: str) -> None:
    if ended:
        given(state, ended)
    before = dump(state.client)

    for wanted in ("running", "finished", "aborted"):
        assert move(state, wanted) == (ended, False)

    assert dump(state.client) == before


def test_it_says_when_it_started_and_when_it_ended(state: State, clock: Clock) -> None:
    given(state, "previewed")
    clock.advance(0.25)
    began_ms = clock.now_ms
    move(state, "running")
    clock.advance(2.5)
    move(state, "aborted")

    times = state.client.hmget(KEYS.replay("r1"), ["started_at_ms", "ended_at_ms"])
    assert times == [str(began_ms), str(began_ms + 2_500)]


@pytest.mark.parametrize("now", ["previewed", "running"])
def test_aborting_forgets_the_list_and_keeps_the_rest(state: State, now: str) -> None:
    given(state, now)
    state.client.sadd(KEYS.replays_running, "r1")

    assert move(state, "aborted") == ("aborted", True)

    assert state.client.exists(KEYS.replay_ids("r1"), KEYS.replays_running) == 0
    assert state.client.hget(KEYS.replay("r1"), "aborted_by") == "sara"


def test_only_its_runner_finishes_it(state: State) -> None:
    given(state, "running", runner="p:1")

    assert move(state, "finished", by="p:2") == ("running", False)
    assert move(state, "finished", by="p:1") == ("finished", True)
