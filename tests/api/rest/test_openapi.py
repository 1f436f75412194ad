"""The API's description: complete, true, and no request made from it breaks the server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from teknav_ops.api.app import create_api
from teknav_ops.api.routes import ROUTERS
from tests.support.scale import scaled
from tests.support.state import QUEUE, State
from tests.support.web import Web

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
#: What guards and limits around the routes may answer to any request.
ANYWHERE = {"400", "405", "411", "413", "429"}


@pytest.fixture
def described(site: Web, owner: httpx.Client, state: State) -> Any:
    """The description, of an API in which there is something to be found."""
    for number in range(3):
        state.dead(payload=json.dumps({"number": number}))
    state.enqueue()
    return schemathesis.openapi.from_dict(_with_examples_of(owner.get("/api/openapi.json").json()))


def _with_examples_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The description with a queue that exists, and what may be answered anywhere; the endless stream is left out."""
    del schema["paths"]["/api/realtime/queue-events"]
    for operations in schema["paths"].values():
        for operation in operations.values():
            for status in ANYWHERE:
                operation["responses"].setdefault(status, {"description": "Refused before it reached the route."})
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "queue" and parameter["in"] == "path":
                    parameter["schema"] = {"enum": [QUEUE, "test:other", "no:such"]}
    return schema


@pytest.mark.parametrize("is_change", [False, True], ids=["reads", "changes"])
def test_no_request_breaks_the_server(
    described: Any, site: Web, tokens: dict[str, str], subtests: pytest.Subtests, is_change: bool
) -> None:
    headers = {"authorization": f"Bearer {tokens['owner']}"}
    operations = [result.ok() for result in described.get_all_operations()]
    chosen = [operation for operation in operations if (operation.method.upper() != "GET") is is_change]
    assert len(chosen) > 10
    for operation in chosen:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=scaled(5),
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )
        def ask(case: Any) -> None:
            case.call_and_validate(base_url=site.url, headers=headers, checks=CHECKS)

        with subtests.test(operation.label):
            ask()


@pytest.fixture(scope="module")
def description(site: Web) -> dict[str, Any]:
    app: Any = site.app
    described: dict[str, Any] = app.openapi()
    return described


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def test_every_operation_says_what_it_is_for_and_what_it_may_answer(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(description)]
    assert len(names) == len(set(names))
    for path, _, operation in operations(description):
        assert operation["summary"] and operation["description"] and operation["tags"], path
        if path not in ("/healthz", "/readyz"):
            assert {"401", "403", "422", "503"} <= set(operation["responses"]), path
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
        if "{" in path:
            assert "404" in operation["responses"], path
        for parameter in operation.get("parameters", []):
            assert parameter.get("description"), (path, parameter["name"])


def test_every_body_has_an_example(description: dict[str, Any]) -> None:
    for path, _, operation in operations(description):
        for content in operation.get("requestBody", {}).get("content", {}).values():
            reference = json.dumps(content["schema"]).partition("schemas/")[2].partition('"')[0]
            assert description["components"]["schemas"][reference]["examples"], path


def test_both_ways_to_sign_in_are_described(description: dict[str, Any]) -> None:
    assert set(description["components"]["securitySchemes"]) == {"token", "session"}
    assert description["security"] == [{"token": []}, {"session": []}]


def test_every_route_of_the_api_is_in_the_description(description: dict[str, Any]) -> None:
    served = {
        (route.path, method.lower()) for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)
        for method in route.methods
    }  # fmt: skip

    assert served <= {(path, method) for path, method, _ in operations(description)} and len(served) > 30


def test_the_pages_that_show_it_fetch_nothing_from_elsewhere(site: Web, owner: httpx.Client) -> None:
    page = owner.get("/api/docs")
    files = [part.split('"')[0] for part in page.text.split('src="')[1:] + page.text.split('href="')[1:]]

    assert "http://" not in page.text and "https://" not in page.text
    for file in files:
        assert file == "data:," or owner.get(file).status_code == 200, file
    assert httpx.get(f"{site.url}/api/docs", headers={"accept": "application/json"}).status_code == 401
    assert httpx.get(f"{site.url}/api/openapi.json").status_code == 401


def test_the_app_can_be_described_without_any_service_answering(site: Web) -> None:
    assert create_api(site.services).openapi()["info"]["title"] == "TekNav ops"
