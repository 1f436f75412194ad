"""Batch replays over REST: previewed, started, followed, aborted, listed, and taken over when a server dies."""

from __future__ import annotations

import httpx
import pytest

from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from tests.support.dead_letters import ERROR_TYPES, error_type_of, make_dead_letters
from tests.support.state import KEYS, QUEUE, State
from tests.support.waiting import until
from tests.support.web import ROOT, Web

REPLAYS = "/api/owner/replays"


def preview(client: httpx.Client, **body: object) -> dict[str, object]:
    answer = client.post(f"/api/owner/queues/{QUEUE}/replays", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"{REPLAYS}/{answer.json()['id']}"
    replay: dict[str, object] = answer.json()
    return replay


def ended(client: httpx.Client, replay: dict[str, object]) -> dict[str, object]:
    def look() -> dict[str, object] | None:
        now = client.get(f"{REPLAYS}/{replay['id']}").json()
        return now if now["state"] in ("finished", "aborted") else None

    found = until(look, what="the end of the replay")
    assert found is not None
    return found


def test_a_preview_counts_causes_warns_of_effects_and_replays_nothing(owner: httpx.Client, state: State) -> None:
    for _ in range(3):
        state.dead()

    plan = preview(owner, name="payment outage", filters={"error_type": "ValueError"}, limit=2)

    assert (plan["state"], plan["total_count"], plan["name"], plan["operator"]) == (
        "previewed", 2, "payment outage", "token:owner",
    )  # fmt: skip
    assert plan["causes"] == [{"error_type": "ValueError", "fingerprint": "f1", "count": 2}]
    assert "effects" in plan
    assert state.client.llen(KEYS.waiting) == 0


def test_all_that_match_are_taken_unless_a_limit_says_otherwise_and_then_it_is_told(
    owner: httpx.Client, state: State
) -> None:
    make_dead_letters(state.client, QUEUE, 1_200)

    whole = preview(owner)
    some = preview(owner, limit=100, filters={"error_type": ERROR_TYPES[0], "text": "number"})

    matching = sum(error_type_of(number) == ERROR_TYPES[0] for number in range(1_200))
    assert (whole["total_count"], whole["matching_count"]) == (1_200, 1_200)
    assert (some["total_count"], some["matching_count"]) == (100, matching)


def test_a_replay_begins_at_once_through_whichever_entrance_it_is_started(site: Web, state: State) -> None:
    dead = state.dead()
    background = site.services.background
    background._look_seconds = 3_600  # Nobody will look by themselves any more.
    background.look()
    control = site.services.control(ROOT)

    plan = control.preview_replay(QUEUE, DeadLetterFilter())
    control.start_replay(QUEUE, plan.id)

    until(lambda: site.services.replays.get(QUEUE, plan.id).state == "finished", what="the end of the replay")
    assert state.places(dead) == ["waiting"]


def test_twenty_starts_are_one_run_whose_end_is_on_record(owner: httpx.Client, state: State, site: Web) -> None:
    for _ in range(150):
        state.dead()
    plan = preview(owner)

    statuses = {owner.post(f"{REPLAYS}/{plan['id']}/start").status_code for _ in range(20)}
    done = ended(owner, plan)

    assert statuses == {202}
    assert (done["state"], done["replayed_count"], done["skipped"]) == ("finished", 150, 0)
    assert state.client.llen(KEYS.waiting) == 150
    assert done["outcome"] == "0 completed, 0 failed again, 150 still waiting or running"
    assert done["unsettled_count"] == 150
    again = preview(owner, filters={"replay": plan["id"]})
    listed = owner.get(f"/api/owner/queues/{QUEUE}/dead-letters", params={"replay": plan["id"]}).json()
    assert again["total_count"] == listed["total_count"] == 0
    actions = owner.get("/api/owner/audit", params={"action": "dlq."}).json()["items"]
    mine = [entry for entry in actions if (entry["detail"] or {}).get("replay") == plan["id"]]
    assert [entry["action"] for entry in reversed(mine)].count("dlq.batch_replayed") == 1
    assert {entry["actor"] for entry in mine} == {"token:owner"}


def test_a_running_replay_keeps_its_rate_changes_it_and_is_aborted(owner: httpx.Client, state: State) -> None:
    for _ in range(200):
        state.dead()
    plan = preview(owner)
    owner.post(f"{REPLAYS}/{plan['id']}/start", json={"rate_per_second": 1})
    until(lambda: owner.get(f"{REPLAYS}/{plan['id']}").json()["done_count"] > 0)

    faster = owner.post(f"{REPLAYS}/{plan['id']}/start", json={"rate_per_second": 20}).json()
    until(lambda: owner.get(f"{REPLAYS}/{plan['id']}").json()["done_count"] >= 20)
    aborted = owner.post(f"{REPLAYS}/{plan['id']}/abort").json()

    assert faster["rate_per_second"] == 20
    assert aborted["state"] == "aborted" and aborted["replayed_count"] < 200
    assert owner.post(f"{REPLAYS}/{plan['id']}/abort").json()["state"] == "aborted"
    assert owner.post(f"{REPLAYS}/{plan['id']}/start").status_code == 409
    assert state.client.llen(KEYS.waiting) + state.client.zcard(KEYS.dlq) == 200


def test_chosen_letters_are_replayed_and_no_others(owner: httpx.Client, state: State) -> None:
    chosen, other = state.dead(), state.dead()

    plan = preview(owner, job_ids=[chosen, "ghost"])
    owner.post(f"{REPLAYS}/{plan['id']}/start")
    ended(owner, plan)

    assert plan["missing_count"] == 1
    assert (state.places(chosen), state.places(other)) == (["waiting"], ["failed"])


def test_replays_stay_listed_with_their_names(owner: httpx.Client, state: State) -> None:
    plans = [preview(owner, name=f"incident {number}") for number in range(3)]
    for place, plan in enumerate(plans):
        state.client.zadd(KEYS.replays, {str(plan["id"]): place})

    listed = owner.get(REPLAYS, params={"limit": 2}).json()
    rest = owner.get(REPLAYS, params={"limit": 2, "cursor": listed["next_cursor"], "queue": QUEUE}).json()

    assert [replay["name"] for replay in listed["items"] + rest["items"]] == ["incident 2", "incident 1", "incident 0"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"limit": 0}, "limit"), ({"limit": 100_001}, "limit"), ({"name": "x" * 121}, "name"),
        ({"name": "a\nb"}, "name"), ({"filters": {"color": "red"}}, "color"), ({"job_ids": []}, "job_ids"),
        ({"job_ids": ["a", "b"], "limit": 1}, "ids"),
    ],
)  # fmt: skip
def test_a_preview_that_cannot_be_names_the_field(owner: httpx.Client, body: dict[str, object], word: str) -> None:
    answer = owner.post(f"/api/owner/queues/{QUEUE}/replays", json=body)

    assert answer.status_code == 422 and word in answer.json()["detail"]


def test_a_viewer_follows_and_starts_nothing(owner: httpx.Client, viewer: httpx.Client, state: State) -> None:
    state.dead()
    plan = preview(owner)

    assert viewer.get(f"{REPLAYS}/{plan['id']}").status_code == 200
    assert viewer.get(REPLAYS).json()["total_count"] == 1
    for path in ("start", "abort"):
        assert viewer.post(f"{REPLAYS}/{plan['id']}/{path}").status_code == 403
    assert owner.get(f"{REPLAYS}/ffffffffffff").status_code == 404
