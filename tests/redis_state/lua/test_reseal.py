"""reseal.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Replaced
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_only_what_still_is_as_it_was_read_is_replaced(state: State) -> None:
    job_id = state.enqueue(payload="read")
    state.client.hset(KEYS.job(job_id), "first_payload", "changed meanwhile")
    before = state.job(job_id)
    texts = [Replaced("payload", "read", "new"), Replaced("first_payload", "read", "new"), Replaced("none", "", "new")]

    assert state.run(scripts.reseal(KEYS.job(job_id), texts)) == 1
    assert state.job(job_id) == before | {"payload": "new"}
    assert state.run(scripts.reseal(KEYS.job(job_id), texts)) == 1
    assert state.places(job_id) == ["waiting"]


def test_a_record_that_is_gone_stays_gone(state: State) -> None:
    before = dump(state.client)

    assert state.run(scripts.reseal(KEYS.job("ghost"), [Replaced("payload", "read", "new")])) == 0
    assert dump(state.client) == before
