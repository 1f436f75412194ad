"""Whatever is sent to REST is answered with what it says, or with 4xx that names the field: never with 500."""

from __future__ import annotations

import json
import urllib.parse
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.payloads import FIELDS, FREE, PAYLOADS, as_json, examples
from tests.support import strategies as odd
from tests.support.web import Web

VALUES = odd.texts | odd.odd_numbers | odd.plain_values
FREE_VALUES = st.dictionaries(odd.texts, VALUES, min_size=1, max_size=3)
PLACES = st.sampled_from(FIELDS).flatmap(
    lambda place: st.tuples(st.just(place), FREE_VALUES if place[2] in FREE else VALUES)
)


def spelled(value: Any) -> bytes | None:
    """The JSON that a careless program would send; None for what it could not spell."""
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError):
        return None


def post(owner: httpx.Client, queue: str, body: Any, **headers: Any) -> httpx.Response | None:
    content = spelled(body)
    if content is None:
        return None
    return owner.post(
        f"/api/owner/queues/{queue}/jobs", content=content, headers={"content-type": "application/json", **headers}
    )


@examples(120)
@given(drawn=PLACES)
def test_any_value_of_any_field_is_refused_by_name_or_comes_back(site: Web, owner: httpx.Client, drawn: Any) -> None:
    (queue, job, field), value = drawn
    answer = post(owner, queue, {"job": job, "payload": {**PAYLOADS[queue, job], field: value}})
    if answer is None:
        return
    assert answer.status_code in (201, 413, 422), answer.text
    if answer.status_code != 201:
        assert field in answer.text
        return
    record = owner.get(answer.headers["location"]).json()
    if field in FREE:
        assert record["payload"][field] == as_json(value)
    listed = owner.get(f"/api/owner/queues/{queue}/jobs", params={"limit": 3})
    assert listed.status_code == 200


@examples(120)
@given(field=st.sampled_from(["job", "payload", "delay_seconds", "priority", "trace_id", "other"]), value=VALUES)
def test_any_option_is_refused_by_name_or_taken(owner: httpx.Client, field: str, value: Any) -> None:
    body = {"job": "index-article", "payload": {"article_id": 1}, field: value}
    answer = post(owner, "search:index", body)
    if answer is not None:
        assert answer.status_code in (201, 422), answer.text
        assert answer.status_code == 201 or field in answer.text


@examples(40)
@given(key=odd.texts)
def test_any_idempotency_key_is_refused_by_name_or_taken(owner: httpx.Client, key: str) -> None:
    try:
        answer = post(
            owner, "search:index", {"job": "index-article", "payload": {"article_id": 1}}, **{"idempotency-key": key}
        )
    except (httpx.HTTPError, UnicodeEncodeError, ValueError):
        return  # No client can send it.
    assert answer is not None
    assert answer.status_code in (200, 201, 400, 409, 422), answer.text
    assert answer.status_code != 422 or "idempotency" in answer.text


LISTS = ("queues/search:index/jobs", "queues/search:index/dead-letters", "queues/search:index/dead-letters/groups",
         "queues/search:index/dead-letters/export", "audit", "search", "jobs/x", "replays", "workers")  # fmt: skip
PARAMETERS = ("text", "name", "trace", "since", "until", "limit", "state", "error_type", "fingerprint", "q",
              "job_name", "sort", "action", "actor", "cursor", "queue", "format")  # fmt: skip


@examples(120)
@given(
    path=st.sampled_from(LISTS),
    query=st.dictionaries(
        st.sampled_from(PARAMETERS), odd.search_texts | st.integers().map(str) | odd.dates.map(str), max_size=3
    ),
)
def test_any_search_is_answered_or_refused(owner: httpx.Client, path: str, query: dict[str, str]) -> None:
    text = urllib.parse.urlencode(query, errors="surrogatepass")
    answer = owner.get(f"/api/owner/{path}?{text}")
    assert answer.status_code < 500, answer.text


@examples(40)
@given(queue=odd.texts, job_id=odd.texts)
def test_any_address_is_answered_or_refused(owner: httpx.Client, queue: str, job_id: str) -> None:
    place = [urllib.parse.quote(part, safe="", errors="surrogatepass") for part in (queue, job_id)]
    for path in ("queues/{}/jobs/{}", "queues/{}/dead-letters/{}", "queues/{}", "jobs/{}"):
        assert owner.get("/api/owner/" + path.format(*place)).status_code < 500


def post_plugin(owner: httpx.Client, text: str) -> httpx.Response:
    """A job whose free data holds this JSON as it is."""
    body = '{"job":"execute-plugin","payload":{"plugin":"p","event":"a","input":{"x":' + text + "}}}"
    return owner.post(
        "/api/owner/queues/plugins:execute/jobs", content=body.encode(), headers={"content-type": "application/json"}
    )


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused_by_name(owner: httpx.Client, text: str) -> None:
    answer = post_plugin(owner, f"[{text}]")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].endswith("input.x.0")


@pytest.mark.parametrize("text", ["1" * 5_000, "-" + "9" * 4_301, "1" * 4_300, "1" * 21], ids=len)
def test_long_numbers_are_refused_with_the_limit(owner: httpx.Client, text: str) -> None:
    answer = post_plugin(owner, text)
    assert answer.status_code == 422
    assert "64 bits; write longer ones as text" in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"].split(".")[0] in ("body", "input")


def test_a_body_that_is_no_utf8_is_refused_with_the_place(owner: httpx.Client) -> None:
    answer = owner.post(
        "/api/owner/queues/search:index/jobs", content=b'{"job":"\xff"}', headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.json()["errors"]) == (
        422,
        [{"field": "body", "problem": "is not UTF-8 (byte 8); send JSON as UTF-8"}],
    )


@pytest.mark.parametrize("depth", [65, 255, 900, 100_000])
def test_depth_is_refused_and_lists_stay_readable(owner: httpx.Client, depth: int) -> None:
    answer = post_plugin(owner, "[" * depth + "1" + "]" * depth)
    assert answer.status_code == 422
    assert "deeper than 64 levels" in answer.json()["detail"] and answer.json()["errors"]
    assert owner.get("/api/owner/queues/plugins:execute/jobs").status_code == 200
