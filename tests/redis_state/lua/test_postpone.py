"""postpone.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


@pytest.mark.parametrize(
    ("uses_attempt", "attempts", "action"), [(True, "1", "job.retried"), (False, "0", "job.snoozed")]
)
def test_a_retry_uses_an_attempt_and_a_snooze_does_not(
    state: State, uses_attempt: bool, attempts: str, action: str
) -> None:
    job_id = state.enqueue()
    (delivery,) = state.fetch()

    assert state.postpone(delivery, uses_attempt=uses_attempt) == 1

    assert state.places(job_id) == ["delayed"]
    assert state.job(job_id)["attempts"] == attempts
    assert state.actions()[-1] == action


def test_a_retry_is_counted_with_its_duration_and_its_wait_and_a_snooze_is_not(state: State, clock: Clock) -> None:
    job_id = state.enqueue()
    clock.advance(3)
    (delivery,) = state.fetch()
    state.postpone(delivery)

    minutes = [state.client.hgetall(key) for key in state.client.scan_iter(KEYS.minute_family + "*")]
    for counted in (state.client.hgetall(KEYS.totals), *(found for found in minutes if "work|retried" in found)):
        found = [counted[f"work|{name}"] for name in ("retried", "failed:b41", "failed:sum_us", "waited_ms")]
        assert found == ["1", "1", "5000", "3000"]
    assert float(state.job(job_id)["duration_ms"]) == 5.0

    clock.advance(60)
    state.postpone(*state.fetch(), uses_attempt=False)
    totals = state.client.hgetall(KEYS.totals)
    assert (totals["work|snoozed"], totals["work|retried"], totals["work|failed:sum_us"]) == ("1", "1", "5000")


def test_postponing_twice_is_recognised_and_writes_nothing(state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.postpone(delivery)
    before = dump(state.client)

    assert state.postpone(delivery) == 2
    assert dump(state.client) == before


def test_the_history_of_attempts_is_bounded(state: State) -> None:
    job_id = state.enqueue()
    for _ in range(30):
        (delivery,) = state.fetch()
        state.postpone(delivery, delay_ms=0)

    assert sum(field.startswith("attempt:") for field in state.job(job_id)) == 20


def test_snoozes_of_a_series_are_counted_in_a_row_and_since_when(state: State, clock: Clock) -> None:
    state.enqueue()

    def postponed(series: str, *, uses_attempt: bool = False) -> tuple[int, int, int]:
        (delivery,) = state.fetch()
        state.postpone(delivery, delay_ms=0, uses_attempt=uses_attempt, series=series)
        clock.advance(1)
        (after,) = state.fetch()
        state.run(scripts.release(KEYS, held=[(after.id, after.delivery)]))
        return after.away_count, after.throttled_count, after.throttled_ms

    assert postponed("throttled") == (0, 1, 1_000)
    assert postponed("throttled") == (0, 2, 2_000)
    assert [postponed("away"), postponed("away")] == [(1, 2, 3_000), (2, 2, 4_000)]
    assert postponed("throttled") == (0, 3, 5_000)
    # To wait for something of ours ends neither; its time does not count.
    assert [postponed("away"), postponed("waiting")] == [(1, 3, 6_000), (0, 3, 0)]
    assert postponed("throttled") == (0, 4, 1_000)
    assert postponed("") == (0, 0, 0)
    assert postponed("throttled") == (0, 1, 1_000)
    assert postponed("away", uses_attempt=True) == (1, 1, 2_000)
    assert postponed("", uses_attempt=True) == (0, 0, 0)
