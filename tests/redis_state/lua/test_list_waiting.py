"""list_waiting.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ListedPart
from tests.support.state import KEYS, State


def listed(state: State, after: tuple[str, str] | None = None, count: int = 100) -> ListedPart:
    part: ListedPart = state.run(scripts.list_waiting(KEYS, after=after, count=count, fields=("name",)))
    return part


@pytest.fixture
def ids(state: State) -> list[str]:
    """What waits at three priorities, some of which came back."""
    made = [state.enqueue(priority=priority) for priority in (0, -5, 0, 7, 0, 0, -5, 0, 7, 0)]
    held = [(delivery.id, delivery.delivery) for delivery in state.fetch(5)]
    state.run(scripts.release(KEYS, held=held))
    return made


def test_the_order_is_that_of_the_hand_out(state: State, ids: list[str]) -> None:
    part = listed(state)

    assert (part.total_count, part.before_count, part.left_count) == (10, 0, 0)
    assert [entry.id for entry in part.entries] == [delivery.id for delivery in state.fetch(10)]
    assert {entry.fields["name"] for entry in part.entries} == {"work"}


@pytest.mark.parametrize("is_there", [True, False])
def test_it_goes_on_after_each_whether_or_not_that_still_waits(state: State, ids: list[str], is_there: bool) -> None:
    whole = listed(state).entries
    for number, entry in enumerate(whole):
        if not is_there:
            assert [delivery.id for delivery in state.fetch(1)] == [entry.id]
        part = listed(state, (entry.score, entry.id), count=3)

        assert [after.id for after in part.entries] == [after.id for after in whole[number + 1 : number + 4]]
        assert part.before_count == (number + 1 if is_there else 0)


def test_a_record_that_says_no_turn_is_listed_at_its_place_and_passed_over(state: State) -> None:
    ids = [state.enqueue() for _ in range(7)]
    for job_id in ids[2:5]:
        state.client.delete(KEYS.job(job_id))

    whole = listed(state).entries
    assert [entry.id for entry in whole] == ids
    for number in (0, 1, 4, 5, 6):
        after = listed(state, (whole[number].score, whole[number].id)).entries
        assert [entry.id for entry in after][-(6 - number) or 7 :] == ids[number + 1 :]
