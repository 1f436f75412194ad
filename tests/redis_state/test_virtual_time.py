"""The tests' own clock (tests/support/virtual_time.py): the product's scripts see it."""

from __future__ import annotations

import pytest
import redis

from teknav_ops.redis_state import scripts
from tests.support.queue_dump import dump_queue
from tests.support.state import KEYS, State
from tests.support.virtual_time import ENDS_KEY, Clock


def test_a_script_sees_the_clock_and_it_stands_still_until_moved(state: State, clock: Clock) -> None:
    job_id = state.enqueue()
    clock.advance(3_600)
    later_id = state.enqueue()

    assert int(state.job(later_id)["enqueued_at_ms"]) - int(state.job(job_id)["enqueued_at_ms"]) == 3_600_000
    assert int(state.job(later_id)["enqueued_at_ms"]) == clock.now_ms


def test_a_lease_runs_out_without_waiting(state: State, clock: Clock) -> None:
    state.enqueue()
    state.fetch(lease_ms=30_000)
    call = scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=30_000, worker="w:2")

    clock.advance(29.999)
    assert state.run(call).returned_count == 0
    clock.advance(0.001)
    assert state.run(call).returned_count == 1


def test_what_expires_does_so_by_the_clock(state: State, clock: Clock) -> None:
    state.enqueue(idempotency_key="k")
    key = KEYS.idempotency_family + "k"
    assert clock.ends_in_ms(key) == 86_400_000

    clock.advance(86_399)
    assert state.client.exists(key)
    clock.advance(1)
    assert not state.client.exists(key)
    assert state.client.zscore(ENDS_KEY, key) is None


def test_ids_of_streams_follow_the_clock_and_never_fall(state: State, clock: Clock) -> None:
    state.enqueue()
    clock.advance(-60)
    state.enqueue()

    first, second = (tuple(map(int, entry_id.split("-"))) for entry_id, _ in state.client.xrange(KEYS.audit))
    assert first[0] == clock.now_ms + 60_000 and second == (first[0], first[1] + 1)


def test_a_server_emptied_under_the_clock_says_so(state: State, clock: Clock) -> None:
    state.client.flushdb()

    with pytest.raises(redis.ResponseError, match="virtual clock was lost"):
        state.enqueue()


def test_a_dump_holds_what_the_queue_holds_and_nothing_of_the_clock(state: State, clock: Clock) -> None:
    job_id = state.enqueue(priority=3)
    dump = dump_queue(state.client, KEYS)

    assert dump.jobs()[job_id] == state.job(job_id)
    assert list(dump.scores(KEYS.prioritized)) == [job_id]
    assert [entry["action"] for entry in dump.audit()] == ["job.enqueued"]
    assert all(key.startswith("teknav:{test:work}:") for key in dump.content)
    assert dump == dump_queue(state.client, KEYS)
    state.enqueue()
    assert dump != dump_queue(state.client, KEYS)
