"""Batch deletions over REST: previewed, refused without a reason, done once."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from teknav_ops.access.policy import Operation
from tests.support.dead_letters import make_dead_letters
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.tcp_proxy import FaultProxy, Moment
from tests.support.web import api, served, settings_for

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


def test_what_an_outage_cut_off_is_not_called_undone(tmp_path: Path, own_server: RedisServer) -> None:
    with FaultProxy(own_server.url) as proxy:
        make_dead_letters(own_server.client(), "webhooks:deliver", 1_200)
        settings = settings_for(tmp_path, proxy.url, redis_timeout_seconds=1)
        with served(api(settings)) as web, web.with_token(web.token(Operation.READ, Operation.ACT)) as client:
            letters = "/api/owner/queues/webhooks:deliver/dead-letters"
            deletions = "/api/owner/queues/webhooks:deliver/deletions"
            run = f"{deletions}/{client.post(deletions, json={}).json()['id']}/run"
            proxy.arm("delete_dead_letters", Moment.AFTER, skip=1, times=99)
            answer = client.post(run, json={"reason": "spam"})
            proxy.disarm()
            left = client.get(letters).json()["total_count"]
            done = client.post(run, json={"reason": "spam"}).json()

    assert answer.status_code == 503 and left == 200
    assert "a part of it: look" in answer.json()["detail"] and "Nothing was done" not in answer.text
    assert (done["deleted_count"], done["state"]) == (1_200, "finished")


@pytest.mark.parametrize("path", ["deletions", "replays"])
def test_ids_and_filters_at_once_are_refused(owner: httpx.Client, state: State, path: str) -> None:
    """Else all of the ids are meant, also those that the filters leave out."""
    ids = [state.dead() for _ in range(2)]

    answer = owner.post(f"/api/owner/queues/{QUEUE}/{path}", json={"job_ids": ids, "filters": {"error_type": "No"}})

    assert (answer.status_code, "job_ids: name jobs, or choose by filters" in answer.text) == (422, True)


@pytest.mark.parametrize("replay", ["0123abc", "of another queue", "0123abc:again"])
def test_a_batch_replay_that_is_not_is_no_filter(owner: httpx.Client, state: State, replay: str) -> None:
    """None that match would be an answer, and a mistyped id has none."""
    state.dead()
    if replay == "of another queue":
        replay = owner.post("/api/owner/queues/test:other/replays", json={}).json()["id"]
    base = f"/api/owner/queues/{QUEUE}"
    answers = [
        owner.get(f"{base}/{path}", params={"replay": replay}) for path in ("dead-letters", "dead-letters/export")
    ]
    if ":" not in replay:
        body = {"filters": {"replay": replay}}
        answers += [owner.post(f"{base}/{path}", json=body) for path in ("deletions", "replays")]

    for answer in answers:
        assert (answer.status_code, f"{QUEUE} has no batch replay '{replay}'" in answer.text) == (404, True)
