"""delete_dead_letters.lua"""

from __future__ import annotations

from teknav_ops.redis_state import scripts
from tests.support.engine import dump
from tests.support.state import KEYS, State


def test_takes_letters_away_and_leaves_the_history(state: State) -> None:
    ids = [state.dead(), state.dead()]

    call = scripts.delete_dead_letters(KEYS, actor="sara", action="dlq.deleted", job_ids=[*ids, "ghost"])
    assert state.run(call) == 2

    assert list(state.client.scan_iter(KEYS.dlq + "*")) == []
    assert state.places(ids[0]) == ["failed"]
    assert state.actions()[-2:] == ["dlq.deleted", "dlq.deleted"]


def test_a_record_that_only_the_letter_kept_goes_with_it(state: State) -> None:
    job_id = state.dead()
    state.client.zrem(KEYS.failed, job_id)

    state.run(scripts.delete_dead_letters(KEYS, actor="sara", action="dlq.purged", job_ids=[job_id]))

    assert state.job(job_id) == {}


def test_deleting_what_is_not_there_writes_nothing(state: State) -> None:
    state.dead()
    before = dump(state.client)

    assert state.run(scripts.delete_dead_letters(KEYS, actor="a", action="dlq.deleted", job_ids=["ghost"])) == 0
    assert dump(state.client) == before
