"""Queues over REST: what they say, how they are paused, resumed and limited."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from teknav_ops.access.policy import Operation
from teknav_ops.snapshots.export import Exporter
from teknav_ops.storage.tables import AuditLog
from tests.support.completed_jobs import complete_jobs
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.web import api, served, settings_for

WORK = "/api/owner/queues/test:work"


def test_all_queues_are_listed_with_what_needs_a_person_first(owner: httpx.Client, state: State) -> None:
    state.enqueue()
    state.dead(priority=-1)

    answer = owner.get("/api/owner/queues").json()

    assert [queue["name"] for queue in answer["items"]] == ["test:work", "test:other"]
    stats = answer["items"][0]["stats"]
    assert (stats["waiting"], stats["failed"], stats["dlq"]) == (1, 1, 1)
    assert {about["kind"] for about in answer["attention"]} >= {"no-workers", "dead-letters", "no-scheduler"}


def test_one_queue_says_what_its_jobs_take(owner: httpx.Client) -> None:
    queue = owner.get(WORK).json()

    kinds = {job["name"]: job for job in queue["jobs"]}
    assert set(kinds) == {"work", "poison", "confide"}
    assert kinds["work"]["payload_schema"]["required"] == ["number"]
    assert kinds["work"]["purpose"] == "Do something that a test can see."
    assert queue["retry"]["attempts"] == 3
    assert queue["limits"]["concurrency"] == {"now": 4, "catalogue": 4}


def test_pausing_and_resuming_twice_changes_once(owner: httpx.Client) -> None:
    changes = [
        owner.request(method, f"{WORK}/pause").json()["changed"] for method in ("PUT", "PUT", "DELETE", "DELETE")
    ]

    assert changes == [True, False, True, False]


def test_a_paused_queue_says_since_when(owner: httpx.Client) -> None:
    queue = owner.put(f"{WORK}/pause").json()["queue"]

    assert queue["is_paused"] and queue["paused_since"].endswith("Z")
    assert owner.get(WORK).json()["is_paused"]


def test_limits_are_changed_and_put_back(owner: httpx.Client) -> None:
    changed = owner.patch(f"{WORK}/limits", json={"concurrency": 2, "rate_count": 10, "rate_period_ms": 1_000}).json()
    back = owner.patch(f"{WORK}/limits", json={"concurrency": 0}).json()

    assert changed["queue"]["limits"]["concurrency"] == {"now": 2, "catalogue": 4}
    assert changed["queue"]["limits"]["rate_count"] == {"now": 10, "catalogue": None}
    assert back["changed"] and back["queue"]["limits"]["concurrency"] == {"now": 4, "catalogue": 4}


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"concurrency": -1}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"rate_count": 5}, "rate_period_ms"),
        ({"speed": 1}, "speed"),
    ],
)
def test_limits_that_cannot_be_name_the_field(owner: httpx.Client, limits: dict[str, int], field: str) -> None:
    answer = owner.patch(f"{WORK}/limits", json=limits)

    assert answer.status_code == 422 and field in answer.json()["detail"]


def test_history_counts_what_happened_in_steps_of_the_clock(owner: httpx.Client, state: State) -> None:
    state.enqueue()
    (delivery,) = state.fetch()
    state.complete(delivery)

    answer = owner.get(f"{WORK}/history", params={"window_seconds": 3_600, "step_seconds": 300}).json()

    assert answer["source"] == "redis"
    assert len(answer["points"]) in (12, 13)
    assert sum(point["completed"] for point in answer["points"]) == 1
    assert sum(point["enqueued"] for point in answer["points"]) == 1
    assert answer["points"][-1]["p95_duration_ms"] == pytest.approx(5, rel=0.05) or answer["points"][-2]["runs"] == 1


def test_a_longer_history_needs_a_snapshot(owner: httpx.Client) -> None:
    answer = owner.get(f"{WORK}/history", params={"window_seconds": 7 * 86_400, "step_seconds": 3_600})

    assert answer.status_code == 404 and answer.json()["type"] == "urn:teknav:problem:no-snapshot"


def test_a_longer_history_joins_redis_and_the_snapshot(tmp_path: Path, redis_server: RedisServer) -> None:
    settings = settings_for(tmp_path, redis_server.url)
    with served(api(settings)) as web, web.with_token(web.token(Operation.READ)) as reader:
        complete_jobs(web.services.client, 3, queue="media:optimize", job="optimize-image")
        three_days_ago = datetime.now(UTC) - timedelta(days=3)
        row = {"queue": "media:optimize", "job_name": "optimize-image", "duration_ms": 40.0, "waited_ms": 1.0}
        with web.services.database.session() as session:
            session.add(AuditLog(at=three_days_ago, action="job.completed", stream_id="1-1", job_id="a", **row))
        Exporter.from_settings(settings, web.services.database).export()

        answer = reader.get(
            "/api/owner/queues/media:optimize/history", params={"window_seconds": 7 * 86_400, "step_seconds": 3_600}
        ).json()

    completed = {point["at"]: point["completed"] for point in answer["points"] if point["completed"]}
    assert answer["source"] == "snapshot"
    assert sorted(completed.values()) == [1, 3]
    assert min(completed)[:13] == three_days_ago.isoformat()[:13]


@pytest.mark.parametrize(
    ("window", "step", "word"), [(3_600, 61, "whole minutes"), (3_600, 7_200, "longer"), (2_000_000, 60, "points")]
)
def test_steps_that_cannot_be_drawn_are_refused(owner: httpx.Client, window: int, step: int, word: str) -> None:
    answer = owner.get(f"{WORK}/history", params={"window_seconds": window, "step_seconds": step})

    assert answer.status_code == 422 and word in answer.json()["detail"]


def test_an_unknown_queue_names_those_that_exist(owner: httpx.Client) -> None:
    for path in ("", "/jobs", "/history", "/dead-letters", "/dead-letters/groups"):
        answer = owner.get(f"/api/owner/queues/no:such{path}")
        assert answer.status_code == 404
        assert "test:work" in answer.json()["detail"]
