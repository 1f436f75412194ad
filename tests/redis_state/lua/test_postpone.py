"""postpone.lua"""

from __future__ import annotations

import pytest

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
