"""flush.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.state import KEYS, State


def test_drops_a_bounded_number_of_what_has_not_begun(state: State) -> None:
    for facts in ({}, {}, {}, {"priority": 1}, {"delay_ms": 9_000}):
        state.enqueue(**facts)
    state.fetch()

    assert state.run(scripts.flush(KEYS, actor="test", count=1)) == 3
    assert state.run(scripts.flush(KEYS, actor="test", count=500)) == 1
    assert state.run(scripts.flush(KEYS, actor="test", count=500)) == 0
    assert state.client.zcard(KEYS.active) == 1


def test_the_keys_of_what_is_dropped_are_free_again(state: State) -> None:
    facts: list[dict[str, int]] = [{}, {"priority": 1}, {"delay_ms": 9_000}]
    for number, fact in enumerate(facts):
        state.enqueue(idempotency_key=f"k{number}", **fact)

    state.run(scripts.flush(KEYS, actor="test", count=10))

    assert list(state.client.scan_iter(KEYS.idempotency_family + "*")) == []


def test_what_is_dropped_is_in_the_audit_trail_and_cancelled_for_its_batch_replay(state: State) -> None:
    state.client.hset(KEYS.replay("r1"), "state", "finished")
    plain, replayed, of_a_forgotten_one = (state.enqueue(trace_id="t1") for _ in range(3))
    state.client.hset(KEYS.job(replayed), "replay", "r1")
    state.client.hset(KEYS.job(of_a_forgotten_one), "replay", "r0")

    assert state.run(scripts.flush(KEYS, actor="sara", count=10)) == 3

    assert state.client.hgetall(KEYS.replay("r1")) == {"state": "finished", "cancelled": "1"}
    assert not state.client.exists(KEYS.replay("r0"))
    dropped = [fields for _, fields in state.client.xrange(KEYS.audit) if fields["action"] == "job.dropped"]
    common = {"action": "job.dropped", "job_name": "work", "actor": "sara", "trace_id": "t1"}
    assert dropped == [common | {"job_id": job_id} for job_id in (plain, replayed, of_a_forgotten_one)]
