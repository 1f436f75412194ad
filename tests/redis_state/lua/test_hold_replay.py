"""hold_replay.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def hold(state: State, runner: str, lease_ms: int = 60_000) -> str:
    call = scripts.hold_replay(KEYS, "r1", runner=runner, lease_ms=lease_ms, kept_ms=60_000)
    answer: str = state.run(call)
    return answer


def test_one_runner_holds_it_until_it_gives_it_back(state: State) -> None:
    state.client.hset(KEYS.replay("r1"), "state", "running")

    assert hold(state, "a") == hold(state, "a") == "ours"
    assert hold(state, "b") == "held"
    assert hold(state, "b", 0) == "held"
    assert hold(state, "a", 0) == "ours"
    assert hold(state, "b") == "ours"


def test_a_runner_that_fell_silent_is_replaced(state: State) -> None:
    state.client.hset(KEYS.replay("r1"), mapping={"state": "running", "runner": "a", "runner_until_ms": 1})

    assert hold(state, "b") == "ours"
    assert hold(state, "a") == "held"


def test_a_runner_holds_it_to_the_end_of_its_lease_and_not_longer(state: State, clock: Clock) -> None:
    state.client.hset(KEYS.replay("r1"), "state", "running")
    clock.advance(0.25)
    hold(state, "a", 30_000)
    assert state.client.hget(KEYS.replay("r1"), "runner_until_ms") == str(clock.now_ms + 30_000)

    clock.advance(29.999)
    assert hold(state, "b") == "held"
    clock.advance(0.001)
    assert hold(state, "b") == "ours"


def test_only_what_runs_can_be_held(state: State) -> None:
    assert hold(state, "a") == ""

    for other in ("previewed", "finished", "aborted"):
        state.client.hset(KEYS.replay("r1"), "state", other)
        assert hold(state, "a") == other
    assert state.client.hget(KEYS.replay("r1"), "runner") is None


def test_what_is_held_stays_on_record(state: State) -> None:
    state.client.hset(KEYS.replay("r1"), "state", "running")
    state.client.rpush(KEYS.replay_ids("r1"), "j|1")

    hold(state, "a")

    assert 0 < state.client.pttl(KEYS.replay("r1")) <= 60_000
    assert 0 < state.client.pttl(KEYS.replay_ids("r1")) <= 60_000
