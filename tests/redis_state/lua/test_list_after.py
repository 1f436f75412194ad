"""list_after.lua"""

from __future__ import annotations

from typing import Any

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ListedPart
from tests.support.state import KEYS, State

FIELDS = ("name", "nothing")


def listed(state: State, after: tuple[str, str] | None = None, **changes: Any) -> ListedPart:
    facts: dict[str, Any] = {"newest_first": False, "between": ("-inf", "+inf"), "count": 3, "fields": FIELDS} | changes
    part: ListedPart = state.run(scripts.list_after(KEYS.completed, KEYS.job_family, after=after, **facts))
    return part


@pytest.fixture
def places(state: State) -> list[tuple[str, str]]:
    """Nine entries at three scores; ids whose order differs between bytes and a language's."""
    found = [(score, name) for score in ("1", "2", "3.001953125") for name in ("B", "a", "b")]
    state.client.zadd(KEYS.completed, {name + score: float(score) for score, name in found})
    for score, name in found:
        state.client.hset(KEYS.job(name + score), mapping={"name": f"named {name}"})
    return [(score, name + score) for score, name in found]


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("is_there", [True, False])
def test_what_comes_after_each_entry_whether_or_not_it_is_still_there(
    state: State, places: list[tuple[str, str]], newest_first: bool, is_there: bool
) -> None:
    order = places[::-1] if newest_first else places
    for number, (score, name) in enumerate(order):
        if not is_there:
            state.client.zrem(KEYS.completed, name)
        part = listed(state, (score, name), newest_first=newest_first)

        assert [(entry.score, entry.id) for entry in part.entries] == order[number + 1 : number + 4]
        assert part.before_count == number + is_there and part.total_count == 8 + is_there
        assert part.left_count == (max(0, 9 - number - 1 - 3) if part.entries else 0)
        state.client.zadd(KEYS.completed, {name: float(score)})


def test_the_record_is_read_with_it_and_a_damaged_one_hides_no_other(
    state: State, places: list[tuple[str, str]]
) -> None:
    state.client.delete(KEYS.job("a1"))
    state.client.set(KEYS.job("a1"), "no hash")

    part = listed(state)

    assert [dict(entry.fields) for entry in part.entries] == [{"name": "named B"}, {}, {"name": "named b"}]
    assert [dict(entry.fields) for entry in listed(state, fields=()).entries] == [{}, {}, {}]


@pytest.mark.parametrize("newest_first", [False, True])
def test_only_what_lies_between_two_scores_is_there(
    state: State, places: list[tuple[str, str]], newest_first: bool
) -> None:
    def between(low: str, high: str, after: tuple[str, str] | None = None) -> tuple[int, int, list[str]]:
        part = listed(state, after, between=(low, high), count=9, newest_first=newest_first)
        return part.total_count, part.before_count, sorted(entry.id for entry in part.entries)

    assert between("2", "(3.001953125") == (3, 0, ["B2", "a2", "b2"])
    assert between("2", "(2") == (0, 0, [])
    assert between("2", "2", ("9", "x")) == ((3, 0, ["B2", "a2", "b2"]) if newest_first else (3, 3, []))
    assert between("2", "2", ("0", "x")) == ((3, 3, []) if newest_first else (3, 0, ["B2", "a2", "b2"]))
