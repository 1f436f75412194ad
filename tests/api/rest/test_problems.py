"""Every error has a status and says what to do, and none says more than it should."""

from __future__ import annotations

import importlib
import json
import pkgutil
from pathlib import Path

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

import teknav_ops
from teknav_ops import errors
from teknav_ops.access.policy import Operation
from teknav_ops.api.problems import STATUS_OF, problem_of, status_of
from tests.support.redis_server import RedisServer
from tests.support.web import api, served, settings_for


def every_error() -> list[type[errors.TekNavError]]:
    """All error classes of the library, wherever they are defined."""
    for module in pkgutil.walk_packages(teknav_ops.__path__, "teknav_ops."):
        if "migrations" not in module.name and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found, open_ends = [], [errors.TekNavError]
    while open_ends:
        for child in open_ends.pop().__subclasses__():
            found.append(child)
            open_ends.append(child)
    return sorted({error for error in found if error.__module__.startswith("teknav_ops")}, key=lambda e: e.__name__)


def test_every_error_has_a_row_in_the_table() -> None:
    for error in every_error():
        assert any(base in STATUS_OF for base in error.__mro__), error
        assert 400 <= status_of(error) < 600, error


def test_what_a_caller_can_mend_is_theirs_and_what_passes_says_when_to_come_back() -> None:
    for error in every_error():
        status = status_of(error)
        if issubclass(error, errors.InvalidRequest):
            assert 400 <= status < 500, error
        if status == 503:
            instance = error.__new__(error)
            instance.args = ("x",)
            assert problem_of(instance).headers["retry-after"]


def test_a_fault_of_ours_tells_nothing() -> None:
    answer = problem_of(ValueError("password=hunter2"))

    assert answer.status_code == 500 and b"hunter2" not in answer.body


def test_an_outage_is_no_fault() -> None:
    assert problem_of(RedisConnectionError("no route")).status_code == 503


def test_details_carry_the_fields_that_are_wrong() -> None:
    answer = problem_of(errors.InvalidPayload("queue job: a: b", [("a", "b")]))

    body = json.loads(bytes(answer.body))
    assert body["errors"] == [{"field": "a", "problem": "b"}]
    assert (body["type"], body["title"]) == ("urn:teknav:problem:invalid-payload", "Invalid payload")


@pytest.mark.parametrize(
    ("error", "fields"),
    [
        (errors.InvalidRequest("since/until: is no time"), [{"field": "since/until", "problem": "is no time"}]),
        (
            errors.InvalidRequest("scope: name one: read\nor act"),
            [{"field": "scope", "problem": "name one: read\nor act"}],
        ),
        (errors.InvalidRequest("Nothing: of a field"), None),
        (errors.WrongState("job: j1 is active"), None),
    ],
)
def test_a_refusal_names_its_field_for_programs_too(error: errors.TekNavError, fields: list[dict[str, str]]) -> None:
    assert json.loads(bytes(problem_of(error).body)).get("errors") == fields


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"{", "json"),
        (b"[]", "model"),
        (b'{"job": "work", "payload": {"number": 1, "n\\ud800": 1}}', ""),
        (b"\xff", ""),
    ],
)
def test_a_body_that_is_none_is_a_problem(owner: httpx.Client, content: bytes, kind: str) -> None:
    headers = {"content-type": "application/json"}

    answer = owner.post("/api/owner/queues/test:work/jobs", content=content, headers=headers)

    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_half_a_character_is_refused_and_nothing_is_written(tmp_path: Path, redis_server: RedisServer) -> None:
    payload = {"endpoint_id": 1, "event_id": "e", "event_type": "a.b", "occurred_at": "2026-01-01T00:00:00Z"}
    body = json.dumps({"job": "deliver-webhook", "payload": payload | {"data": {"x": "\ud800"}}}).encode()
    with served(api(settings_for(tmp_path, redis_server.url))) as web:
        headers = {"authorization": f"Bearer {web.token(Operation.ENQUEUE)}", "content-type": "application/json"}
        answer = httpx.post(f"{web.url}/api/owner/queues/webhooks:deliver/jobs", content=body, headers=headers)
        waiting = web.services.jobs.counts("webhooks:deliver").waiting

    assert (answer.status_code, waiting) == (422, 0)
    assert "half a character" in answer.json()["detail"]
