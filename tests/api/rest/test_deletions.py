"""Batch deletions over REST: previewed, refused without a reason, done once."""

from __future__ import annotations

import httpx

from tests.support.state import KEYS, QUEUE, State

DELETIONS = f"/api/owner/queues/{QUEUE}/deletions"


def test_what_matches_is_frozen_and_deleted_once_for_a_reason(owner: httpx.Client, state: State) -> None:
    for _ in range(3):
        state.dead()
    plan = owner.post(DELETIONS, json={"filters": {"error_type": "ValueError"}, "limit": 2})
    assert plan.status_code == 201, plan.text
    frozen = plan.json()
    assert (frozen["total_count"], frozen["matching_count"], frozen["state"]) == (2, 3, "previewed")
    assert frozen["causes"] == [{"error_type": "ValueError", "fingerprint": "f1", "count": 2}]
    run = f"{DELETIONS}/{frozen['id']}/run"

    assert [owner.post(run, json=body).status_code for body in ({}, {"reason": ""}, {"reason": " "})] == [422, 422, 422]
    assert state.client.zcard(KEYS.dlq) == 3
    first, again = (owner.post(run, json={"reason": "spam"}).json() for _ in range(2))

    assert first == again
    assert (first["deleted_count"], first["skipped_count"], first["deleted_by"]) == (2, 0, "token:owner")
    assert state.client.zcard(KEYS.dlq) == 1
    assert owner.post(f"{DELETIONS}/abc/run", json={"reason": "spam"}).status_code == 404
