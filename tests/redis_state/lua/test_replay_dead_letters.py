"""replay_dead_letters.lua"""

from __future__ import annotations

import pytest

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock


def test_moves_the_job_back_with_fresh_attempts_and_takes_its_letter_away(state: State) -> None:
    job_id = state.dead(idempotency_key="k")

    assert state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)])) == 1

    assert state.places(job_id) == ["waiting"]
    assert (state.job(job_id)["attempts"], state.job(job_id)["replays"]) == ("0", "1")
    leftovers = list(state.client.scan_iter(KEYS.dlq + "*"))
    assert leftovers == []
    assert state.job(job_id)["idempotency_key"] == "k"


def deleted(state: State, key: str) -> str:
    """A failed job whose dead letter was deleted."""
    job_id = state.dead(idempotency_key=key)
    state.run(scripts.delete_dead_letters(KEYS, actor="a", action="dlq.deleted", failures=[(job_id, None)]))
    return job_id


def test_a_job_holds_its_key_anew(state: State, clock: Clock) -> None:
    job_id, key = deleted(state, "k"), KEYS.idempotency_family + "k"

    for _ in range(2):
        clock.advance(3_600)
        state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)], idempotency_ms=60_000_000))
        assert (state.client.get(key), clock.ends_in_ms(key)) == (job_id, 60_000_000)
        state.dead_letter(*state.fetch())


def test_a_job_whose_key_another_job_has_now_is_left_alone(state: State) -> None:
    first, plain = deleted(state, "k"), state.dead()
    second = state.enqueue(idempotency_key="k")
    before = state.job(first)
    state.client.hset(KEYS.replay("b"), mapping={"state": "running", "runner": "r"})

    turn = scripts.BatchTurn("b", "r", 0)
    call = scripts.replay_dead_letters(KEYS, actor="sara", failures=[(first, None), (plain, None)], turn=turn)
    assert state.run(call) == 1

    assert state.job(first) == before and state.places(first) == ["failed"]
    assert state.client.hget(KEYS.replay("b"), "skipped:key") == "1"
    assert state.client.get(KEYS.idempotency_family + "k") == second


def test_a_job_that_was_lost_has_all_its_lives_again(state: State) -> None:
    job_id = state.dead()
    state.client.hset(KEYS.job(job_id), "lost", 3)

    state.run(scripts.replay_dead_letters(KEYS, actor="owner", failures=[(job_id, None)]))

    assert state.job(job_id)["lost"] == "0"


def test_a_second_replay_finds_nothing_and_writes_nothing(state: State) -> None:
    job_id = state.dead()
    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)]))
    before = dump(state.client)

    assert state.run(scripts.replay_dead_letters(KEYS, actor="ali", failures=[(job_id, None)])) == 0
    assert dump(state.client) == before


def test_a_failure_of_another_moment_is_left_alone(state: State) -> None:
    job_id = state.dead()
    before = dump(state.client)

    assert state.run(scripts.replay_dead_letters(KEYS, actor="a", failures=[(job_id, 1)])) == 0
    assert dump(state.client) == before


def test_a_letter_whose_history_was_trimmed_is_replayed_all_the_same(state: State) -> None:
    first = state.dead()
    # Within one millisecond the order would be by id.
    state.client.zadd(KEYS.failed, {first: 1})
    state.enqueue()
    (delivery,) = state.fetch()
    state.dead_letter(delivery, kept=1)
    assert state.client.zscore(KEYS.failed, first) is None

    assert state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(first, None)])) == 1
    assert state.places(first) == ["waiting"]


def test_an_edited_payload_replaces_the_old_one_which_stays_in_the_audit(state: State) -> None:
    job_id = state.dead()

    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)], payload='{"number": 2}'))

    assert state.job(job_id)["payload"] == '{"number": 2}'
    assert '{"number": 1}' in state.client.xrevrange(KEYS.audit, count=1)[0][1]["detail"]
    assert state.job(job_id)["first_payload"] == '{"number": 1}'


def test_the_audit_says_what_was_replayed_and_why_it_had_failed(state: State) -> None:
    job_id = state.dead(trace_id="t1")

    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)]))

    assert state.client.xrevrange(KEYS.audit, count=1)[0][1] == {
        "action": "job.replayed",
        "job_id": job_id,
        "job_name": "work",
        "actor": "sara",
        "trace_id": "t1",
        "attempt": "1",
        "error_type": "ValueError",
        "fingerprint": "f1",
        "detail": "",
    }


def running_batch(state: State, facts: dict[str, str] | None = None) -> scripts.BatchTurn:
    state.client.hset(KEYS.replay("r1"), mapping={"state": "running", "runner": "p:1"} | (facts or {}))
    return scripts.BatchTurn("r1", "p:1", 0)


def test_a_batchs_progress_moves_with_its_jobs(state: State) -> None:
    turn = running_batch(state)
    dead = [state.dead() for _ in range(3)]
    failures = [(job_id, int(state.job(job_id)["finished_at_ms"])) for job_id in dead]
    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=failures[:1]))

    assert state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=failures, turn=turn)) == 2

    progress = state.client.hgetall(KEYS.replay("r1"))
    assert (progress["done"], progress["replayed"]) == ("3", "2")
    assert [state.job(job_id).get("replay") for job_id in dead] == [None, "r1", "r1"]


def test_a_batch_says_why_it_left_jobs_alone(state: State) -> None:
    turn = running_batch(state)
    replayed, failed_anew, waits, unreadable = state.dead(), state.dead(), state.enqueue(), "unreadable"
    state.client.set(KEYS.job(unreadable), "not a record")
    failures = [(replayed, None), (failed_anew, 1), (waits, None), (unreadable, None), ("gone", None)]

    assert state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=failures, turn=turn)) == 1

    progress = state.client.hgetall(KEYS.replay("r1"))
    skipped = {name.partition(":")[2]: count for name, count in progress.items() if name.startswith("skipped:")}
    assert skipped == {"anew": "1", "other": "1", "unreadable": "1", "gone": "1"}


@pytest.mark.parametrize("facts", [{"state": "aborted"}, {"runner": "p:2"}, {"done": "1"}])
def test_a_batch_that_is_not_the_runners_is_left_alone(state: State, facts: dict[str, str]) -> None:
    turn = running_batch(state, facts)
    job_id = state.dead()
    before = dump(state.client)

    call = scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)], turn=turn)

    assert state.run(call) == -1
    assert dump(state.client) == before


def test_a_damaged_record_does_not_stop_the_others(state: State) -> None:
    damaged, whole = state.dead(), state.dead()
    state.client.delete(KEYS.job(damaged))
    state.client.set(KEYS.job(damaged), "not a record")

    call = scripts.replay_dead_letters(KEYS, actor="sara", failures=[(damaged, None), (whole, None)])

    assert state.run(call) == 1
    assert state.places(whole) == ["waiting"]


def test_a_replayed_job_waits_by_its_priority(state: State, clock: Clock) -> None:
    dead = [state.dead(priority=priority) for priority in (9, 0, -9)]
    clock.advance(1)
    waiting = [state.enqueue(priority=priority) for priority in (9, 0, -9)]
    clock.advance(1)

    state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None) for job_id in dead]))

    assert [delivery.id for delivery in state.fetch(6)] == [
        waiting[2], dead[2], waiting[1], dead[1], waiting[0], dead[0],
    ]  # fmt: skip
    assert {state.job(job_id)["waited_ms"] for job_id in dead} == {"0"}
