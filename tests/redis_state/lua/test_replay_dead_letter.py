"""replay_dead_letter.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_moves_the_job_back_with_fresh_attempts_and_takes_its_letter_away(state: State) -> None:
    job_id = state.dead(idempotency_key="k")

    assert state.run(scripts.replay_dead_letter(KEYS, job_id=job_id, actor="sara")) is True

    assert state.places(job_id) == ["waiting"]
    assert (state.job(job_id)["attempts"], state.job(job_id)["replays"]) == ("0", "1")
    leftovers = list(state.client.scan_iter(KEYS.dlq + "*"))
    assert leftovers == []
    assert state.job(job_id)["idempotency_key"] == "k"


def test_a_second_replay_finds_nothing_and_writes_nothing(state: State) -> None:
    job_id = state.dead()
    state.run(scripts.replay_dead_letter(KEYS, job_id=job_id, actor="sara"))
    before = dump(state.client)

    assert state.run(scripts.replay_dead_letter(KEYS, job_id=job_id, actor="ali")) is False
    assert dump(state.client) == before


def test_a_failure_of_another_moment_is_left_alone(state: State) -> None:
    job_id = state.dead()
    before = dump(state.client)

    assert state.run(scripts.replay_dead_letter(KEYS, job_id=job_id, actor="a", failed_at_ms=1)) is False
    assert dump(state.client) == before


def test_a_letter_whose_history_was_trimmed_is_replayed_all_the_same(state: State) -> None:
    first = state.dead()
    # Within one millisecond the order would be by id.
    state.client.zadd(KEYS.failed, {first: 1})
    state.enqueue()
    (delivery,) = state.fetch()
    state.dead_letter(delivery, kept=1)
    assert state.client.zscore(KEYS.failed, first) is None

    assert state.run(scripts.replay_dead_letter(KEYS, job_id=first, actor="sara")) is True
    assert state.places(first) == ["waiting"]


def test_an_edited_payload_replaces_the_old_one_which_stays_in_the_audit(state: State) -> None:
    job_id = state.dead()

    state.run(scripts.replay_dead_letter(KEYS, job_id=job_id, actor="sara", payload='{"number": 2}'))

    assert state.job(job_id)["payload"] == '{"number": 2}'
    assert '{"number": 1}' in state.client.xrevrange(KEYS.audit, count=1)[0][1]["detail"]
