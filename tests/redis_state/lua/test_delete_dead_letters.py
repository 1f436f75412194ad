"""delete_dead_letters.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_takes_letters_away_and_leaves_the_history(state: State) -> None:
    ids = [state.dead(), state.dead()]

    call = scripts.delete_dead_letters(
        KEYS, actor="sara", action="dlq.deleted", failures=[(job_id, None) for job_id in (*ids, "ghost")]
    )
    assert state.run(call) == 2

    assert list(state.client.scan_iter(KEYS.dlq + "*")) == []
    assert state.places(ids[0]) == ["failed"]
    assert state.actions()[-2:] == ["dlq.deleted", "dlq.deleted"]


def test_the_audit_entry_says_what_was_deleted(state: State) -> None:
    job_id = state.dead(trace_id="ab" * 16)

    state.run(scripts.delete_dead_letters(KEYS, actor="sara", action="dlq.deleted", failures=[(job_id, None)]))

    ((_, entry),) = state.client.xrevrange(KEYS.audit, count=1)
    assert entry == {
        "action": "dlq.deleted", "actor": "sara", "job_id": job_id, "job_name": "work", "trace_id": "ab" * 16,
        "attempt": "1", "error_type": "ValueError", "fingerprint": "f1", "detail": "",
    }  # fmt: skip


def test_a_record_that_only_the_letter_kept_goes_with_it(state: State) -> None:
    job_id = state.dead()
    state.client.zrem(KEYS.failed, job_id)

    state.run(scripts.delete_dead_letters(KEYS, actor="sara", action="dlq.purged", failures=[(job_id, None)]))

    assert state.job(job_id) == {}


def test_deleting_what_is_not_there_writes_nothing(state: State) -> None:
    state.dead()
    before = dump(state.client)

    assert (
        state.run(scripts.delete_dead_letters(KEYS, actor="a", action="dlq.deleted", failures=[("ghost", None)])) == 0
    )
    assert dump(state.client) == before


def test_the_jobs_key_is_free_again_unless_it_is_anothers(state: State) -> None:
    first, other = state.dead(idempotency_key="k"), state.dead(idempotency_key="expired")
    state.client.delete(KEYS.idempotency_family + "expired")
    second = state.enqueue(idempotency_key="expired")

    failures = [(first, None), (other, None)]
    state.run(scripts.delete_dead_letters(KEYS, actor="sara", action="dlq.purged", failures=failures))

    assert state.client.get(KEYS.idempotency_family + "k") is None
    assert state.client.get(KEYS.idempotency_family + "expired") == second


def test_a_damaged_record_does_not_stop_the_others(state: State) -> None:
    damaged, whole = state.dead(idempotency_key="a"), state.dead(idempotency_key="b")
    state.client.delete(KEYS.job(damaged))
    state.client.set(KEYS.job(damaged), "not a record")

    call = scripts.delete_dead_letters(
        KEYS, actor="sara", action="dlq.deleted", failures=[(damaged, None), (whole, None)]
    )

    assert state.run(call) == 2
    assert state.client.exists(KEYS.idempotency_family + "b") == 0


def test_only_the_failure_of_the_moment_asked_for_is_deleted_with_the_reason_and_counted(state: State) -> None:
    meant, anew = state.dead(), state.dead()
    failed_at_ms = int(state.client.zscore(KEYS.dlq, meant) or 0)
    state.client.hset(KEYS.deletion("d"), "deleted", 0)
    call = scripts.delete_dead_letters(
        KEYS, actor="sara", action="dlq.deleted", failures=[(meant, failed_at_ms), (anew, failed_at_ms - 1)],
        reason="دیگر لازم نیست", deletion_id="d",
    )  # fmt: skip

    assert [state.run(call), state.run(call)] == [1, 0]

    assert state.client.zrange(KEYS.dlq, 0, -1) == [anew]
    assert state.client.hget(KEYS.deletion("d"), "deleted") == "1"
    ((_, entry),) = state.client.xrevrange(KEYS.audit, count=1)
    assert (entry["job_id"], entry["detail"]) == (meant, "دیگر لازم نیست")


def test_a_deletion_whose_record_ran_out_gets_no_new_one(state: State) -> None:
    job_id = state.dead()

    state.run(
        scripts.delete_dead_letters(
            KEYS, actor="sara", action="dlq.deleted", failures=[(job_id, None)], deletion_id="gone"
        )
    )

    assert not state.client.exists(KEYS.deletion("gone"))
