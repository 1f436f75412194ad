"""publish_stats.lua"""

from __future__ import annotations

import json

import pytest

from teknav_ops.redis_state import keys, scripts
from tests.support.state import QUEUE, State
from tests.support.virtual_time import Clock

FRESH_MS = 30_000
KEPT_MS = 3_600_000
KEY = keys.stats(QUEUE)


def now_ms(state: State) -> int:
    seconds, microseconds = state.client.time()
    return int(seconds) * 1000 + int(microseconds) // 1000


def publish(
    state: State, publisher: str, term: int, *, waiting: int = 0, age_ms: int = 0, from_ms: int | None = None
) -> bool:
    """Publish as if it had been `age_ms` ago, or so long before `from_ms`."""
    at_ms = (now_ms(state) if from_ms is None else from_ms) - age_ms
    stats = {"waiting": waiting, "lastUpdatedAt": at_ms, "term": term, "publisher": publisher}
    call = scripts.publish_stats(
        QUEUE, term=term, publisher=publisher, fresh_ms=FRESH_MS, expires_at_ms=at_ms + KEPT_MS,
        json_text=json.dumps(stats),
    )  # fmt: skip
    answer: bool = state.run(call)
    return answer


def waiting(state: State) -> int:
    return int(json.loads(state.client.get(KEY))["waiting"])


def test_one_publisher_replaces_its_own_and_they_go_away_by_themselves(state: State) -> None:
    assert publish(state, "a", 1, waiting=1) and publish(state, "a", 1, waiting=2)

    assert waiting(state) == 2
    assert KEPT_MS - 60_000 < state.client.pttl(KEY) <= KEPT_MS


def test_a_later_term_takes_over_and_an_earlier_one_overwrites_nothing(state: State) -> None:
    publish(state, "a", 1, waiting=1)
    assert publish(state, "b", 2, waiting=2)

    assert not publish(state, "a", 1, waiting=3)

    assert waiting(state) == 2


def test_two_of_one_term_never_take_turns(state: State) -> None:
    # A failover to a replica may give a term twice.
    publish(state, "a", 4, waiting=1)

    assert not publish(state, "b", 4, waiting=2)
    assert publish(state, "a", 4, waiting=3)


def test_terms_that_were_begun_anew_are_accepted_once_nothing_fresh_is_there(state: State) -> None:
    publish(state, "a", 57, waiting=1)
    assert not publish(state, "b", 1, waiting=2)
    publish(state, "a", 57, waiting=1, age_ms=FRESH_MS + 1_000)

    assert publish(state, "b", 1, waiting=2)
    assert waiting(state) == 2


def test_a_leader_whose_term_counter_was_lost_goes_on_at_once(state: State) -> None:
    publish(state, "a", 57, waiting=1)

    assert publish(state, "a", 1, waiting=2)


@pytest.mark.parametrize(("age_ms", "is_fresh"), [(FRESH_MS, True), (FRESH_MS + 1, False)])
def test_how_fresh_stats_are_is_known_to_the_millisecond(
    state: State, clock: Clock, age_ms: int, is_fresh: bool
) -> None:
    clock.advance(0.9)
    publish(state, "a", 57, age_ms=age_ms, from_ms=clock.now_ms)

    assert publish(state, "b", 1, from_ms=clock.now_ms) == (not is_fresh)


def test_stats_of_the_future_stop_nobody(state: State) -> None:
    # The clock stepped back by an hour after they were published.
    publish(state, "a", 57, age_ms=-3_600_000)

    assert publish(state, "b", 1, waiting=2)
    assert waiting(state) == 2


@pytest.mark.parametrize("damage", ["", "no json", "[1, 2]", '"text"', "{}", '{"term": "x", "lastUpdatedAt": 1}'])
def test_what_cannot_be_read_is_overwritten(state: State, damage: str) -> None:
    state.client.set(KEY, damage)

    assert publish(state, "a", 1, waiting=2)
    assert waiting(state) == 2


def test_a_key_of_another_type_is_overwritten(state: State) -> None:
    state.client.rpush(KEY, "no string")

    assert publish(state, "a", 1, waiting=2)
    assert waiting(state) == 2


def test_stats_older_than_they_are_kept_are_not_kept(state: State) -> None:
    publish(state, "a", 1, age_ms=KEPT_MS + 1_000)

    assert state.client.get(KEY) is None
