"""dead_letter.lua"""

from __future__ import annotations

import dataclasses

from tests.support.engine import dump
from tests.support.state import KEYS, State

TRACE = "ab" * 16


def test_moves_the_job_and_files_its_letter_under_its_cause(state: State) -> None:
    job_id = state.dead()

    assert state.places(job_id) == ["failed"]
    for index in (KEYS.dlq, KEYS.dlq_type("ValueError"), KEYS.dlq_fingerprint("f1")):
        assert state.client.zrange(index, 0, -1) == [job_id]
    assert state.client.hgetall(KEYS.dlq_groups) == {"ValueError|f1": "1"}
    assert state.actions()[-2:] == ["job.failed", "dlq.added"]
    totals = state.client.hgetall(KEYS.totals)
    assert totals["work|failed"] == totals["work|failed:b41"] == "1" and totals["work|failed:sum_us"] == "5000"


def test_who_sleeps_is_woken_as_there_is_room_for_another(state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.client.delete(KEYS.wake)

    for _ in range(2):
        state.dead_letter(delivery)

    assert state.client.llen(KEYS.wake) == 1


def test_the_letter_and_the_audit_entries_say_of_which_job_they_are(state: State) -> None:
    job_id = state.dead(payload='{"number": 7}', trace_id=TRACE)

    letter = state.client.hgetall(KEYS.dlq_record(job_id))
    expected = {"originalJobId": job_id, "jobName": "work", "traceId": TRACE, "payload": '{"number": 7}'}
    assert letter.items() >= expected.items()
    assert letter["attemptsMade"] == "1"
    entries = [fields for _, fields in state.client.xrange(KEYS.audit)][-2:]
    assert {(entry["job_id"], entry["job_name"], entry["trace_id"]) for entry in entries} == {(job_id, "work", TRACE)}


def test_a_record_keeps_the_newest_twenty_attempts(state: State) -> None:
    job_id = state.enqueue()
    (delivery,) = state.fetch()
    state.client.hset(KEYS.job(job_id), mapping={"delivery": 21, "attempt:1": "{}", "attempt:2": "{}"})

    assert state.dead_letter(dataclasses.replace(delivery, delivery=21)) == 1

    attempts = {name for name in state.job(job_id) if name.startswith("attempt:")}
    assert attempts == {"attempt:2", "attempt:21"}


def test_giving_up_twice_is_recognised_and_writes_nothing(state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.dead_letter(delivery)
    before = dump(state.client)

    assert state.dead_letter(delivery) == 2
    assert dump(state.client) == before


def test_a_finished_job_cannot_be_given_up(state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.complete(delivery)
    before = dump(state.client)

    assert state.dead_letter(delivery) == 0
    assert dump(state.client) == before


def test_history_is_bounded_but_no_dead_letter_and_no_record_of_one_is_dropped(state: State) -> None:
    ids = []
    for _ in range(4):
        ids.append(state.enqueue())
        (delivery,) = state.fetch()
        state.dead_letter(delivery, kept=2)

    assert state.client.zcard(KEYS.failed) == 2
    assert state.client.zcard(KEYS.dlq) == 4
    assert all(state.job(job_id) for job_id in ids)
