"""What is given twice is refused by its name: nobody can know which was meant."""

from __future__ import annotations

import httpx
import pytest
from fastapi.routing import APIRoute

from teknav_ops.access.policy import Operation
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.routes import ROUTERS
from tests.support.web import Web

JOBS = "/api/owner/queues/media:optimize/jobs"


@pytest.fixture
def ci(web: Web) -> httpx.Client:
    return web.with_token(web.token(Operation.READ, Operation.ENQUEUE))


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"job": "optimize-image", "payload": {"file_id": 1, "file_id": 2}}', "file_id"),
        ('{"job": "optimize-image", "payload": {"file_id": 1}, "payload": {"file_id": 1}}', "payload"),
        ('{"job": "optimize-image", "payload": {"file_id": [{"\\u0061": 1, "a": 2}]}}', "a"),
    ],
)
def test_a_key_that_stands_twice_in_a_body(web: Web, ci: httpx.Client, body: str, key: str) -> None:
    answer = ci.post(JOBS, content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 422 and f"the key '{key}' twice" in answer.json()["errors"][0]["problem"]
    assert web.services.jobs.counts("media:optimize").waiting == 0


def test_a_header_and_a_parameter_that_come_twice(web: Web, ci: httpx.Client) -> None:
    order = {"job": "optimize-image", "payload": {"file_id": 1}}
    twice = ci.post(JOBS, json=order, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    listed = ci.get(JOBS, params=[("state", "waiting"), ("limit", 1), ("limit", 2)])

    assert (twice.status_code, twice.json()["errors"][0]["field"]) == (422, "idempotency_key")
    assert (listed.status_code, listed.json()["errors"][0]["field"]) == (422, "limit")
    assert web.services.jobs.counts("media:optimize").waiting == 0


def test_what_a_route_does_not_read_may_come_as_often_as_it_likes(ci: httpx.Client) -> None:
    # Prometheus can be told to send this.
    assert ci.get("/metrics", params=[("name[]", "a"), ("name[]", "b")]).status_code == 403
    assert ci.get(JOBS, params=[("state", "waiting"), ("x", 1), ("x", 2)]).status_code == 200
    assert ci.get("/api/owner/audit", params=[("since", "2026-01-01"), ("since", "2026-01-02")]).status_code == 422


def test_every_route_of_the_api_refuses_it() -> None:
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) > 30 and [route.path for route in routes if not isinstance(route, ExactRoute)] == []
