"""fetch.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import NewJob
from tests.support.state import KEYS, State


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


def test_says_when_to_look_again_for_what_is_due(state: State) -> None:
    state.enqueue(delay_ms=5_000)

    fetched = state.fetched()

    assert fetched.deliveries == []
    assert fetched.look_again_ms is not None and 4_000 < fetched.look_again_ms <= 5_000


def test_a_paused_queue_hands_out_nothing(state: State) -> None:
    state.enqueue()
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))

    assert state.fetch() == []


def test_global_concurrency_counts_what_is_active_already(state: State) -> None:
    for _ in range(5):
        state.enqueue()

    assert len(state.fetch(5, global_concurrency=2)) == 2
    assert state.fetch(5, global_concurrency=2) == []


def test_the_rate_limit_says_how_long_the_period_lasts(state: State) -> None:
    for _ in range(5):
        state.enqueue()

    assert len(state.fetch(5, rate_count=3, rate_period_ms=10_000)) == 3
    refused = state.fetched(5, rate_count=3, rate_period_ms=10_000)
    assert refused.deliveries == []
    assert refused.look_again_ms is not None and 9_000 < refused.look_again_ms <= 10_000


def test_ripening_is_bounded(state: State) -> None:
    jobs = [NewJob(id=f"{n:04}", name="work", payload="{}", delay_ms=60_000) for n in range(250)]
    state.run(scripts.enqueue(KEYS, idempotency_ms=1_000, actor="test", jobs=jobs))
    for job in jobs:
        state.client.zadd(KEYS.delayed, {job.id: 1})

    state.fetch(1)

    assert state.client.zcard(KEYS.delayed) == 150


def test_an_id_without_a_record_is_set_aside(state: State) -> None:
    job_id = state.enqueue()
    state.client.rpush(KEYS.waiting, "ghost")

    assert [d.id for d in state.fetch(5)] == [job_id]
    assert state.client.zrange(KEYS.corrupt, 0, -1) == ["ghost"]


def test_says_how_long_a_job_had_been_ready(state: State) -> None:
    job_id = state.enqueue()
    state.client.hincrby(KEYS.job(job_id), "enqueued_at_ms", -5_000)
    (first,) = state.fetch()
    assert 5_000 <= int(state.job(job_id)["waited_ms"]) < 9_000

    state.postpone(first, delay_ms=0)
    state.fetch()

    # A retry is ready when it is due, not when it was enqueued.
    assert int(state.job(job_id)["waited_ms"]) < 1_000
