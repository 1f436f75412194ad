"""fetch.lua"""

from __future__ import annotations

import dataclasses

import pytest

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import NewJob
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def test_hands_out_the_oldest_under_a_lease_with_a_delivery_number(state: State) -> None:
    first, second = state.enqueue(), state.enqueue()

    deliveries = state.fetch(2)

    assert [(d.id, d.delivery) for d in deliveries] == [(first, 1), (second, 1)]
    assert state.places(first) == ["active"]
    assert state.job(first)["state"] == "active"


def test_leaves_a_token_while_more_is_waiting(state: State) -> None:
    state.enqueue(), state.enqueue()
    state.client.delete(KEYS.wake)

    state.fetch(1)
    assert state.client.llen(KEYS.wake) == 1

    state.client.delete(KEYS.wake)
    state.fetch(1)
    assert state.client.llen(KEYS.wake) == 0


def test_says_when_to_look_again_for_what_is_due(state: State, clock: Clock) -> None:
    state.enqueue(delay_ms=5_000)

    assert state.fetched() == scripts.Fetched(5_000, None, False, [])
    clock.advance(5)
    assert len(state.fetch()) == 1


def test_a_paused_queue_hands_out_nothing(state: State) -> None:
    state.enqueue()
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))

    assert state.fetch() == []


def test_global_concurrency_counts_what_is_active_already(state: State) -> None:
    for _ in range(5):
        state.enqueue()

    assert len(state.fetch(5, global_concurrency=2)) == 2
    assert state.fetch(5, global_concurrency=2) == []


def handed(state: State, count: int, **limits: int) -> int:
    return len(state.fetch(count, **limits))


def test_the_rate_limit_says_when_the_next_may_go(state: State, clock: Clock) -> None:
    for _ in range(5):
        state.enqueue()
    limits = {"rate_count": 3, "rate_period_ms": 10_000}
    assert handed(state, 2, **limits) == 2
    clock.advance(4)
    assert handed(state, 5, **limits) == 1

    refused = state.fetched(5, **limits)

    assert refused.deliveries == [] and refused.look_again_ms == 6_000
    clock.advance(6)
    assert handed(state, 5, **limits) == 2


def test_no_window_holds_more_than_the_rate_limit(state: State, clock: Clock) -> None:
    for _ in range(60):
        state.enqueue()
    times: list[int] = []
    # Near the edges of fixed windows, where counters that start again would let twice as many through.
    for seconds in (0.0, 0.9, 0.1, 0.05, 0.85, 0.1, 0.95, 0.05, 0.3, 0.7):
        clock.advance(seconds)
        times += [clock.now_ms] * handed(state, 20, rate_count=10, rate_period_ms=1_000)

    assert max(sum(start <= at < start + 1_000 for at in times) for start in times) == 10


@pytest.mark.parametrize("before", [(1, 3_600_000), (100, 1_000), (5, 60_000)])
@pytest.mark.parametrize("after", [(5, 1_000), (3, 3_600_000), (20, 60_000)])
def test_a_changed_rate_limit_holds_at_once(
    state: State, clock: Clock, before: tuple[int, int], after: tuple[int, int]
) -> None:
    for _ in range(200):
        state.enqueue()
    times = []
    for _ in range(4):
        clock.advance(1)
        times += [clock.now_ms] * handed(state, 10, rate_count=before[0], rate_period_ms=before[1])
    count, period_ms = after
    in_window = sum(at > clock.now_ms - period_ms for at in times)

    fetched = state.fetched(50, rate_count=count, rate_period_ms=period_ms)

    assert len(fetched.deliveries) == max(0, count - in_window)
    if not fetched.deliveries:
        assert fetched.look_again_ms == times[-count] + period_ms - clock.now_ms


def test_a_clock_that_was_set_back_costs_one_period_of_the_rate_limit(state: State, clock: Clock) -> None:
    for _ in range(6):
        state.enqueue()
    limits = {"rate_count": 3, "rate_period_ms": 10_000}
    assert handed(state, 6, **limits) == 3
    clock.advance(-3_600)

    assert state.fetched(6, **limits).look_again_ms == 10_000
    clock.advance(10)
    assert handed(state, 6, **limits) == 3


def test_a_larger_limit_counts_all_that_went_under_the_smaller_one(state: State, clock: Clock) -> None:
    jobs = [NewJob(id=f"{n:04}", name="work", payload="{}") for n in range(1_000)]
    for first in range(4):
        batch = [dataclasses.replace(job, id=f"{first}-{job.id}") for job in jobs]
        state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=batch))
    for _ in range(30):
        assert handed(state, 100, rate_count=100, rate_period_ms=1_000) == 100
        clock.advance(1)

    wider = {"rate_count": 2_500, "rate_period_ms": 3_600_000}
    assert state.fetched(1_000, **wider).look_again_ms == 3_600_000 - 25_000
    clock.advance(3_600 - 25)
    assert handed(state, 1_000, **wider) == 100


def test_memory_of_the_rate_is_bounded_and_errs_towards_fewer(state: State, clock: Clock) -> None:
    state.enqueue()
    ages = sorted({round(1.0021**n) + n % 3 for n in range(9_000)}, reverse=True)
    went = [(clock.now_ms - age, number + 1) for number, age in enumerate(ages)]
    state.client.zadd(KEYS.handed_out, {str(at): number for at, number in went})
    assert len(went) > 5_000 and ages[0] > 86_400_000

    assert handed(state, 1, rate_count=10_000_000, rate_period_ms=86_400_000) == 1

    assert state.client.zcard(KEYS.handed_out) < 2_600
    assert clock.ends_in_ms(KEYS.handed_out) == 86_400_000
    for period_ms in (50, 1_000, 60_000, 3_600_000, 86_400_000):
        in_window = sum(at > clock.now_ms - period_ms for at, _ in went) + 1
        for count in (in_window, in_window // 2 + 1):
            last = [at for at, _ in went][-count + 1] if count > 1 else clock.now_ms
            exact = last + period_ms - clock.now_ms

            found = state.fetched(1, rate_count=count, rate_period_ms=period_ms).look_again_ms

            assert found is not None and exact <= found <= exact + period_ms / 64


def test_the_order_is_priority_then_ready_time_whatever_fell_due(state: State, clock: Clock) -> None:
    due = [state.enqueue(priority=priority, delay_ms=delay_ms) for priority, delay_ms in
           ((0, 2_000), (0, 4_000), (5, 1_000), (-5, 3_000), (0, 6_000))]  # fmt: skip
    new: list[str] = []
    for _ in range(5):
        clock.advance(1)
        new.append(state.enqueue())

    order = [delivery.id for delivery in state.fetch(20)]

    # What falls due in a millisecond goes before what arrives in it.
    assert order == [due[3], new[0], due[0], new[1], new[2], due[1], new[3], new[4], due[2]]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_the_order_does_not_hang_on_how_many_are_taken_at_once(state: State, clock: Clock, count: int) -> None:
    for number in range(12):
        clock.advance(0.001)
        state.enqueue(id=f"{number:02}", delay_ms=500 if number % 3 == 0 else 0)
    clock.advance(1)
    state.enqueue(id="12")
    wanted = [f"{n:02}" for n in range(12) if n % 3] + [f"{n:02}" for n in range(12) if not n % 3] + ["12"]

    assert [delivery.id for _ in range(13) for delivery in state.fetch(count)] == wanted


def test_jobs_of_earlier_versions_keep_their_order(state: State, clock: Clock) -> None:
    """They have no turn, and in `prioritized` stand under priority and a small counter."""
    old = {}
    for number, priority in enumerate((0, 4, -4, 0, 4)):
        clock.advance(1)
        job_id = old[number] = state.enqueue(priority=priority)
        state.client.hdel(KEYS.job(job_id), "turn", "ready_at_ms")
        if priority:
            state.client.zadd(KEYS.prioritized, {job_id: priority * 2**40 + number})
    new = [state.enqueue(priority=priority) for priority in (0, 4, -4)]
    held = [(delivery.id, delivery.delivery) for delivery in state.fetch(20)]
    assert [job_id for job_id, _ in held] == [old[2], new[2], old[0], old[3], new[0], old[1], old[4], new[1]]

    state.run(scripts.release(KEYS, held=held))

    assert [delivery.id for delivery in state.fetch(20)] == [job_id for job_id, _ in held]


def test_the_most_urgent_of_many_that_are_due_is_handed_out_first(state: State, clock: Clock) -> None:
    jobs = [NewJob(id=f"{n:03}", name="work", payload="{}", delay_ms=1_000 + n) for n in range(300)]
    jobs.append(NewJob(id="urgent", name="work", payload="{}", delay_ms=2_000, priority=-9))
    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))
    clock.advance(3)

    assert [held.id for held in state.fetch(2)] == ["urgent", "000"]


def test_one_fetch_moves_so_many_due_jobs_and_hands_out_none_before_all_are_moved(state: State, clock: Clock) -> None:
    waiting = state.enqueue()
    due = [state.enqueue(delay_ms=1_000 + n, priority=-n) for n in range(5)]
    clock.advance(3)

    for left_count in (3, 1):
        fetched = state.fetched(1, ripen_count=2)
        assert (fetched.look_again_ms, fetched.deliveries) == (0, [])
        assert state.client.zcard(KEYS.delayed) == left_count
    assert [held.id for held in state.fetch(9, ripen_count=2)] == [*reversed(due[1:]), waiting, due[0]]


def test_an_id_without_a_record_is_set_aside(state: State) -> None:
    job_id = state.enqueue()
    state.client.rpush(KEYS.waiting, "ghost")

    assert [d.id for d in state.fetch(5)] == [job_id]
    assert state.client.zrange(KEYS.corrupt, 0, -1) == ["ghost"]


@pytest.mark.parametrize(("field", "value"), [("state", "completed"), ("state", "active"), ("name", None)])
def test_a_job_that_does_not_wait_or_has_no_name_is_set_aside(state: State, field: str, value: str | None) -> None:
    damaged, sound = state.enqueue(), state.enqueue()
    if value is None:
        state.client.hdel(KEYS.job(damaged), field)
    else:
        state.client.hset(KEYS.job(damaged), field, value)

    assert [delivery.id for delivery in state.fetch(5)] == [sound]
    assert state.client.zrange(KEYS.corrupt, 0, -1) == [damaged]
    assert state.job(damaged).get(field) == value and "delivery" not in state.job(damaged)


def test_what_is_handed_out_without_a_rate_limit_counts_against_none(state: State) -> None:
    for _ in range(3):
        state.enqueue()
    assert handed(state, 2) == 2

    assert not state.client.exists(KEYS.handed_out)
    assert handed(state, 2, rate_count=1, rate_period_ms=86_400_000) == 1


def test_says_how_long_a_job_had_been_ready(state: State, clock: Clock) -> None:
    job_id = state.enqueue()
    clock.advance(5)
    (first,) = state.fetch()
    assert state.job(job_id)["waited_ms"] == "5000"

    state.postpone(first, delay_ms=1_000)
    clock.advance(3)
    state.fetch()

    # A retry is ready when it is due, not when it was enqueued.
    assert state.job(job_id)["waited_ms"] == "2000"


def test_says_which_concurrency_an_operator_set(state: State) -> None:
    assert state.fetched().concurrency is None

    state.run(scripts.set_control(KEYS, actor="sara", action="queue.configured", fields={"concurrency": "7"}))

    assert state.fetched().concurrency == 7


@pytest.mark.parametrize(
    ("limits", "is_limited"),
    [({}, False), ({"global_concurrency": 1}, True), ({"rate_count": 1, "rate_period_ms": 1_000}, True)],
)
def test_says_whether_a_limit_of_all_workers_is_in_force(
    state: State, limits: dict[str, int], is_limited: bool
) -> None:
    assert state.fetched(**limits).is_limited_globally == is_limited


def test_a_record_without_a_turn_goes_by_when_it_was_ready(state: State, clock: Clock) -> None:
    old = state.enqueue()
    state.client.hdel(KEYS.job(old), "turn")
    state.client.hset(KEYS.job(old), "ready_at_ms", clock.now_ms + 2_000)
    due = state.enqueue(delay_ms=1_000)
    clock.advance(3)

    assert [delivery.id for delivery in state.fetch(2)] == [due, old]


def test_suspects_beyond_those_asked_for_keep_their_place_and_others_go_past(state: State) -> None:
    suspects = [state.enqueue(), state.enqueue(priority=-1), state.enqueue()]
    jobs = [state.enqueue() for _ in range(3)]
    for job_id in suspects:
        state.client.hset(KEYS.job(job_id), "lost", 2)
    ordered = [suspects[1], suspects[0], suspects[2]]

    assert [held.id for held in state.fetch(2, suspect_losses=2, suspects=0)] == jobs[:2]
    assert [held.id for held in state.fetch(2, suspect_losses=2, suspects=1)] == [ordered[0], jobs[2]]
    assert state.fetch(2, suspect_losses=2, suspects=0) == []
    assert [held.id for held in state.fetch(9, suspect_losses=3, suspects=0)] == ordered[1:]


def test_suspects_that_fell_due_together_keep_their_order_as_others_go_past(state: State, clock: Clock) -> None:
    suspects = [state.enqueue(id=job_id, delay_ms=1_000) for job_id in "abc"]
    clock.advance(2)
    job_id = state.enqueue()
    for suspect in suspects:
        state.client.hset(KEYS.job(suspect), "lost", 2)

    assert [held.id for held in state.fetch(9, suspect_losses=2, suspects=0)] == [job_id]
    assert [held.id for held in state.fetch(9)] == suspects
