"""list_waiting.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import ListedPart, NewJob
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


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


def walked(state: State, count: int) -> list[str]:
    """All that waits, so many at a time; each once, or the walk is too long."""
    found: list[str] = []
    after: tuple[str, str] | None = None
    while part := listed(state, after, count).entries:
        found += [entry.id for entry in part]
        after = (part[-1].score, part[-1].id)
        assert len(found) == len(set(found)), found
    return found


@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
def test_what_fell_due_and_records_of_earlier_versions_stand_where_they_are_handed_out(
    state: State, clock: Clock, count: int
) -> None:
    for number in range(4):
        state.enqueue(id=f"urgent{number}", priority=-5)
    state.enqueue(id="new0"), state.enqueue(id="new1")
    for number, delay_ms in enumerate((1, 2, 5)):
        state.enqueue(id=f"due{number}", delay_ms=delay_ms)
    clock.advance(0.002)
    # Without a turn they go by when they were ready, or else by when they were enqueued.
    for job_id, fields, ready_at_ms in (
        ("old0", ("turn", "ready_at_ms"), 0),
        ("old1", ("turn",), clock.now_ms + 4),
    ):
        state.enqueue(id=job_id)
        state.client.hset(KEYS.job(job_id), mapping={"enqueued_at_ms": clock.now_ms + 2, "ready_at_ms": ready_at_ms})
        state.client.hdel(KEYS.job(job_id), *fields)
    clock.advance(0.005)
    state.enqueue(id="new2")
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))
    assert state.fetch() == []

    found = walked(state, count)

    assert found == [
        *(f"urgent{number}" for number in range(4)),
        "new0",
        "new1",
        "due0",
        "due1",
        "old0",
        "due2",
        "old1",
        "new2",
    ]
    state.run(scripts.set_control(KEYS, actor="a", action="queue.resumed", fields={"paused": ""}))
    assert [delivery.id for delivery in state.fetch(100)] == found


@pytest.mark.parametrize("is_there", [True, False])
def test_it_goes_on_after_each_whether_or_not_that_still_waits(state: State, ids: list[str], is_there: bool) -> None:
    whole = listed(state).entries
    for number, entry in enumerate(whole):
        if not is_there:
            assert [delivery.id for delivery in state.fetch(1)] == [entry.id]
        part = listed(state, (entry.score, entry.id), count=3)

        assert [after.id for after in part.entries] == [after.id for after in whole[number + 1 : number + 4]]
        assert part.before_count == (number + 1 if is_there else 0)


@pytest.mark.parametrize("count", [1, 2, 3, 100])
def test_records_that_say_no_turn_are_listed_once_each_beside_the_one_before(
    state: State, clock: Clock, count: int
) -> None:
    state.enqueue(id="urgent", priority=-5)
    for number in range(9):
        state.enqueue(id=f"new{number}")
        if number == 4:
            # Due between the new ones.
            state.enqueue(id="due", delay_ms=1)
            clock.advance(0.002)
    state.enqueue(id="patient", priority=5)
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))
    assert state.fetch() == []
    for number in (0, 3, 4, 6, 8):
        state.client.delete(KEYS.job(f"new{number}"))

    new = [f"new{number}" for number in range(9)]
    assert walked(state, count) == ["urgent", *new[:5], "due", *new[5:], "patient"]


@pytest.mark.parametrize("count", [1, 100, 250])
def test_hundreds_of_records_that_say_no_turn_end_no_list(state: State, count: int) -> None:
    """As a server that lost data leaves them."""
    jobs = [NewJob(id=f"{number:03}", name="work", payload="{}") for number in range(260)]
    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))
    for number in (*range(120), *range(121, 258)):
        state.client.delete(KEYS.job(f"{number:03}"))

    assert walked(state, count) == [job.id for job in jobs]


def test_a_record_that_says_no_turn_is_listed_at_its_place_and_passed_over(state: State) -> None:
    ids = [state.enqueue() for _ in range(7)]
    for job_id in ids[2:5]:
        state.client.delete(KEYS.job(job_id))

    whole = listed(state).entries
    assert [entry.id for entry in whole] == ids
    for number in (0, 1, 4, 5, 6):
        after = listed(state, (whole[number].score, whole[number].id)).entries
        assert [entry.id for entry in after][-(6 - number) or 7 :] == ids[number + 1 :]
