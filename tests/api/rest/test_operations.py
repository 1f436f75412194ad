"""Workers, audit, alerts, metrics and health over REST."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from teknav_ops.access.policy import Operation
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import connect
from teknav_ops.storage.tables import Alert
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.web import Web, api, served, settings_for


def test_a_worker_shows_what_it_runs_since_when_and_with_how_many_threads(
    owner: httpx.Client, engine: Engine, state: State
) -> None:
    engine.behaviour = lambda job, ctx: until(lambda: state.client.exists("go-on")) and None
    job_id = state.enqueue()

    with engine.working(threads=3):
        until(lambda: owner.get("/api/owner/workers").json()["running_count"] == 1, what="the worker's running job")
        answer = owner.get("/api/owner/workers").json()
        state.client.set("go-on", "1")

    (worker,) = answer["items"]
    assert answer["alive_count"] == 1 and worker["is_alive"]
    assert worker["id"] == f"{worker['host']}:{worker['pid']}"
    assert (worker["thread_count"], worker["queues"]) == (3, ["test:other", "test:work"])
    assert [(job["job_id"], job["name"]) for job in worker["running"]] == [(job_id, "work")]
    started_at, last_heartbeat_at = (
        datetime.fromisoformat(worker[name]) for name in ("started_at", "last_heartbeat_at")
    )
    assert started_at <= last_heartbeat_at


def test_a_silent_worker_is_shown_as_dead(owner: httpx.Client, state: State) -> None:
    state.client.zadd(KEYS.workers, {"old:1": (time.time() - 120) * 1000})

    (worker,) = owner.get("/api/owner/workers").json()["items"]

    assert (worker["id"], worker["is_alive"], worker["thread_count"]) == ("old:1", False, None)


def test_the_audit_trail_is_filtered_and_paged(owner: httpx.Client, state: State, move_audit: AuditWriter) -> None:
    job_id = state.dead()
    owner.put(f"/api/owner/queues/{QUEUE}/pause")
    move_audit.drain()

    by_job = owner.get("/api/owner/audit", params={"job_id": job_id}).json()["items"]
    paused = owner.get("/api/owner/audit", params={"action": "queue.paused", "actor": "token:owner"}).json()["items"]
    first = owner.get("/api/owner/audit", params={"job_id": job_id, "limit": 2}).json()
    rest = owner.get(
        "/api/owner/audit", params={"job_id": job_id, "limit": 2, "cursor": first["next_cursor"]}
    ).json()  # fmt: skip

    assert [entry["action"] for entry in by_job] == ["dlq.added", "job.failed", "job.enqueued"]
    assert [(entry["outcome"], entry["queue"]) for entry in paused][-1] == ("done", QUEUE)
    assert first["items"] + rest["items"] == by_job
    assert owner.get("/api/owner/audit", params={"cursor": "yesterday"}).status_code == 422


def test_a_viewer_sees_who_and_what_but_no_details(
    owner: httpx.Client, viewer: httpx.Client, state: State, move_audit: AuditWriter
) -> None:
    state.dead()
    move_audit.drain()

    answer = viewer.get("/api/owner/audit", params={"action": "job.failed"})

    assert answer.json()["items"][0]["error_type"] == "ValueError"
    assert "broken" not in answer.text
    assert viewer.get("/api/owner/audit", params={"text": "broken"}).status_code == 403


def test_alerts_are_listed_open_ones_first(owner: httpx.Client, site: Web) -> None:
    now = datetime.now(UTC)
    common = {
        "kind": "dlq-inflow",
        "severity": "page",
        "since_at": now,
        "unit": "jobs",
        "message": "12 new dead letters",
    }
    with site.services.database.session() as session:
        for name, resolved_at in (("over", now), ("open", None)):
            opened_at = now - timedelta(minutes=1)
            session.add(Alert(rule=name, queue=QUEUE, opened_at=opened_at, resolved_at=resolved_at, **common))

    answer = owner.get("/api/owner/alerts").json()
    assert answer["scheduler"] == "missing"

    assert [(alert["rule"], alert["resolved_at"] is None) for alert in answer["items"]] == [
        ("open", True),
        ("over", False),
    ]
    assert answer["open_count"] == 1 and answer["items"][0]["runbook"]
    assert [alert["rule"] for alert in owner.get("/api/owner/alerts?open_only=true").json()["items"]] == ["open"]


def test_metrics_are_for_those_who_may_scrape(
    owner: httpx.Client, producer_client: httpx.Client, site: Web, state: State
) -> None:
    state.enqueue()

    answer = owner.get("/metrics")

    assert answer.headers["content-type"].startswith("text/plain")
    assert 'teknav_jobs{queue="test:work",state="waiting"} 1.0' in answer.text
    assert producer_client.get("/metrics").status_code == 403
    assert httpx.get(f"{site.url}/metrics").status_code == 401


def test_health_needs_no_sign_in_and_readiness_notices_what_is_away(tmp_path: Path, own_server: RedisServer) -> None:
    settings = settings_for(tmp_path, own_server.url, redis_timeout_seconds=0.5)
    with served(api(settings)) as web:
        assert httpx.get(f"{web.url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{web.url}/readyz").json() == {"status": "ok", "down": []}

        own_server.freeze()
        answer = httpx.get(f"{web.url}/readyz", timeout=ANSWER_SECONDS)
        own_server.thaw()

        assert (answer.status_code, answer.json()["down"]) == (503, ["redis"])
        assert httpx.get(f"{web.url}/healthz").status_code == 200
        until(lambda: httpx.get(f"{web.url}/readyz").status_code == 200, what="readiness after the outage")


def test_an_outage_is_a_problem_that_says_to_try_again(tmp_path: Path, own_server: RedisServer) -> None:
    settings = settings_for(
        tmp_path, own_server.url, redis_timeout_seconds=0.3, producer_timeout_seconds=0.5
    )  # fmt: skip
    scopes = (Operation.READ, Operation.ENQUEUE)
    with served(api(settings)) as web, web.with_token(web.token(*scopes)) as client:
        own_server.kill()

        read = client.get("/api/owner/queues")
        write = client.post(
            "/api/owner/queues/media:optimize/jobs", json={"job": "optimize-image", "payload": {"file_id": 1}}
        )

    for answer in (read, write):
        assert answer.status_code == 503 and answer.headers["retry-after"]
        assert answer.headers["content-type"] == "application/problem+json"
    assert "jobs had been accepted" in write.json()["detail"] or "Nothing was done" in write.json()["detail"]


def test_the_heartbeats_words_leave_with_it(redis_server: RedisServer, cipher: Cipher) -> None:
    client = connect(redis_server.url)
    engine = Engine(redis_server.url, cipher)
    with engine.working(threads=2):
        key = f"teknav:worker:{engine.broker.worker_id}"
        until(lambda: client.get(key))
        assert json.loads(client.get(key) or "")["thread_count"] == 2
        assert 0 < int(client.execute_command("PTTL", key)) <= 20 * engine.broker.lease_ms
    engine.close()
    client.close()


@pytest.mark.parametrize("path", ["/api/owner/nothing", "/api/owner/queues/test:work/jobs/x/y/z"])
def test_a_path_that_is_none_is_a_problem(owner: httpx.Client, path: str) -> None:
    answer = owner.get(path)

    assert answer.status_code == 404 and answer.json()["type"] == "urn:teknav:problem:not-found"
