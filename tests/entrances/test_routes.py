"""Every route × everybody who may ask: refused with the right status and nothing changed, or let in and it happened."""

from __future__ import annotations

import dataclasses
from typing import Any

import httpx
import pytest

from teknav_ops.access.policy import Operation
from tests.entrances.callers import Caller, Callers
from tests.entrances.prepared import PAUSED_QUEUE, QUEUE, WORDS, PreparedData
from tests.support.entry_points import SAFE, EntryPoint, filled
from tests.support.web import PASSWORD

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")

#: What is asked for besides, where a request may also answer with something.
READING = {Operation.READ, Operation.READ_PAYLOADS}
_MAIL = {"to": "reader@example.com", "subject": "hello", "text": "hello"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A request that changes something when it is let in, and the right that the documentation says it needs."""

    body: Any = None
    needs: Operation = Operation.ACT
    query: dict[str, str] = dataclasses.field(default_factory=dict)
    values: dict[str, str] = dataclasses.field(default_factory=dict)


def recipes(data: PreparedData) -> dict[tuple[str, str], Recipe]:
    """By method and path template. A new route that changes something needs one."""
    queue, replays = "/api/owner/queues/{queue}", "/api/owner/replays/{replay_id}"
    users, people = "/api/owner/access/users", Operation.ADMINISTER
    return {
        ("POST", users): Recipe({"name": "added", "role": "VIEWER", "password": PASSWORD}, people),
        ("DELETE", f"{users}/{{user}}"): Recipe(None, people, values={"user": "spare-remove"}),
        ("PUT", f"{users}/{{user}}/role"): Recipe({"role": "OPERATOR"}, people, values={"user": "spare-role"}),
        ("PUT", f"{users}/{{user}}/password"): Recipe(
            {"password": PASSWORD}, people, values={"user": "spare-password"}
        ),
        ("PUT", f"{users}/{{user}}/disabled"): Recipe(None, people, values={"user": "spare-disable"}),
        ("DELETE", f"{users}/{{user}}/disabled"): Recipe(None, people),
        ("DELETE", f"{users}/{{user}}/second-factor"): Recipe(None, people, values={"user": "spare-factor"}),
        ("DELETE", f"{users}/{{user}}/sessions"): Recipe(None, people),
        ("DELETE", f"{users}/{{user}}/sessions/{{session}}"): Recipe(None, people, values={"user": "spare-session"}),
        ("POST", "/api/owner/access/tokens"): Recipe({"name": "added", "scopes": ["metrics"]}, people),
        ("DELETE", "/api/owner/access/tokens/{token}"): Recipe(None, people),
        ("PUT", f"{queue}/pause"): Recipe(),
        ("DELETE", f"{queue}/pause"): Recipe(values={"queue": PAUSED_QUEUE}),
        ("PATCH", f"{queue}/limits"): Recipe({"concurrency": 3}, Operation.MANAGE),
        ("POST", f"{queue}/jobs"): Recipe({"job": "send-email", "payload": _MAIL}, Operation.ENQUEUE),
        ("POST", f"{queue}/jobs/{{job_id}}/retry"): Recipe(),
        ("POST", f"{queue}/jobs/{{job_id}}/promote"): Recipe(values={"job_id": "delayed-1"}),
        ("POST", f"{queue}/jobs/{{job_id}}/cancel"): Recipe(values={"job_id": "waiting-1"}),
        ("POST", f"{queue}/jobs/{{job_id}}/run-again"): Recipe(values={"job_id": "done-1"}),
        ("POST", f"{queue}/dead-letters/{{job_id}}/replay"): Recipe(),
        ("DELETE", f"{queue}/dead-letters/{{job_id}}"): Recipe(needs=Operation.MANAGE),
        ("DELETE", f"{queue}/dead-letters"): Recipe(needs=Operation.MANAGE, query={"confirm": QUEUE}),
        ("POST", f"{queue}/deletions"): Recipe({"limit": 5, "filters": {}}, Operation.MANAGE),
        ("POST", f"{queue}/deletions/{{deletion_id}}/run"): Recipe({"reason": "test"}, Operation.MANAGE),
        ("POST", f"{queue}/replays"): Recipe({"limit": 5, "filters": {}}),
        ("POST", f"{replays}/start"): Recipe(),
        ("POST", f"{replays}/abort"): Recipe(values={"replay_id": data.running}),
    }


def wanted(caller: Caller, entry: EntryPoint) -> int | None:
    """The status of the refusal; None where the caller is let in."""
    if entry.is_open:
        return None
    if not caller.is_let_in:
        return 403 if caller.is_forged else 401
    if caller.is_token and (entry.is_page or entry.is_way_in):
        return 403
    if caller.is_forged and entry.method not in ("GET", "WS"):
        return 403
    # Reports are of no queue; all else is about the prepared one.
    queue = None if entry.path.startswith("/reports") else QUEUE
    return None if all(caller.may(need, queue) for need in entry.needs) else 403


def ask(client: httpx.Client, caller: Caller, entry: EntryPoint, data: PreparedData) -> httpx.Response:
    recipe = recipes(data).get((entry.method, entry.template), Recipe())
    query = {name: "dead-1" for name, is_required in entry.query if is_required} | recipe.query
    path = filled(entry.template, data.path_values | recipe.values) if recipe.values else entry.path
    client.cookies.clear()
    request = client.build_request(
        entry.method, path, params=query, json=recipe.body, headers=dict(caller.headers), timeout=20
    )
    answer = client.send(request, stream=entry.is_stream)
    if entry.is_stream and answer.status_code == 200:
        answer.close()
        return httpx.Response(answer.status_code)
    if entry.is_stream:
        answer.read()
    return answer


def test_every_route_that_changes_something_says_what_it_needs(
    entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    asked = {(entry.method, entry.template): entry.needs - READING for entry in entry_points if entry.changes}

    assert asked == {route: {recipe.needs} for route, recipe in recipes(prepared).items()}


def test_what_is_asked_for_in_order_to_read_changes_nothing(
    client: httpx.Client, callers: Callers, entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    before = prepared.state()
    for entry in entry_points:
        if entry.method in SAFE and not entry.is_way_in:
            ask(client, callers["owner"], entry, prepared)
    after = prepared.state()

    assert {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)} == set()


def test_refused_requests_change_nothing(
    client: httpx.Client, caller: Caller, entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    before, wrong = prepared.state(), []
    for entry in entry_points:
        refusal = None if entry.method == "WS" else wanted(caller, entry)
        if refusal is not None:
            answer = ask(client, caller, entry, prepared)
            if answer.status_code != refusal or len(answer.content) > 400:
                wrong.append((entry.method, entry.path, answer.status_code))
    after = prepared.state()
    if after != before:
        prepared.reset()

    assert wrong == []
    assert after == before


def test_requests_that_are_let_in_do_what_they_say(
    client: httpx.Client, caller: Caller, entry_points: list[EntryPoint], prepared: PreparedData
) -> None:
    if caller.is_forged:
        return  # What is let in without a token of the page are reads, as the owner's own.
    wrong = []
    for entry in entry_points:
        if entry.method == "WS" or entry.is_way_in or wanted(caller, entry) is not None:
            continue
        rows = prepared.rows() if Operation.ADMINISTER in entry.needs else None
        answer = ask(client, caller, entry, prepared)
        is_expected = answer.status_code < 400 or not entry.path.startswith(("/api/owner", "/reports"))
        if answer.status_code in (401, 403, 421) or answer.status_code >= 500 or not is_expected:
            wrong.append((entry, answer.status_code, answer.text[:200]))
        is_masked = not caller.may(Operation.READ_PAYLOADS)
        if is_masked and not entry.is_stream and any(word in answer.text for word in WORDS.values()):
            wrong.append((entry, "tells what is in a payload"))
        # Users and tokens are in SQL.
        is_changed = prepared.reset() if rows is None else prepared.rows() != rows
        if entry.changes and not is_changed:
            wrong.append((entry, "changed nothing"))

    assert wrong == []


@pytest.mark.parametrize("place", ["jobs/dead-1/retry", "dead-letters/dead-1/replay"])
def test_another_payload_needs_the_right_to_manage(
    client: httpx.Client, callers: Callers, prepared: PreparedData, place: str
) -> None:
    """It is another job, under the name of the one that failed."""
    wrong = []
    for caller in callers.all():
        if caller.may(Operation.ACT) and not caller.is_forged:
            client.cookies.clear()
            answer = client.post(
                f"/api/owner/queues/{QUEUE}/{place}", json={"payload": _MAIL}, headers=dict(caller.headers)
            )
            is_done = prepared.reset()
            if (answer.status_code, is_done) != ((200, True) if caller.may(Operation.MANAGE) else (403, False)):
                wrong.append((caller.name, answer.status_code, is_done))

    assert wrong == []
