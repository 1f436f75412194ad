"""Every socket × everybody: the events' own, and one per page, which only the page's own browser session may join."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dashboards.sockets import page_key
from teknav_ops.access.policy import Operation
from tests.entrances.callers import Caller, Callers
from tests.entrances.prepared import QUEUE, PreparedData
from tests.support.entry_points import EntryPoint
from tests.support.waiting import ANSWER_SECONDS
from tests.support.web import Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")
QUEUES: Final = "/dashboard/owner/queues"


def open_socket(web: Web, path: str, caller: Caller, protocols: list[str]) -> ClientConnection:
    headers = {name: value for name, value in caller.headers if name != "origin"}
    return connect(
        f"ws://127.0.0.1:{web.port}{path}", additional_headers=headers, origin=caller.origin,
        open_timeout=ANSWER_SECONDS, subprotocols=protocols,
    )  # type: ignore[arg-type]  # fmt: skip


def is_let_in(web: Web, path: str, caller: Caller, protocols: list[str]) -> bool:
    """Whether the socket opens; a refusal must be a 403 to the handshake."""
    try:
        with open_socket(web, path, caller, protocols):
            return True
    except InvalidStatus as refusal:
        assert refusal.response.status_code == 403, (path, caller.name)
        return False


def page_token(client: httpx.Client, path: str, caller: Caller) -> str:
    """What a page that the caller has opened would show to its socket."""
    client.cookies.clear()
    page = client.get(path, headers=dict(caller.headers) | {"accept": "text/html"})
    found = re.search(r'"token":\s*"([^"]+)"', page.text)
    assert found, (path, caller.name, page.text[:500])
    return found[1]


def sockets(entry_points: list[EntryPoint]) -> list[EntryPoint]:
    found = [entry for entry in entry_points if entry.method == "WS"]
    assert {entry.is_page for entry in found} == {True, False}
    return found


def test_the_event_socket_opens_for_who_may_read(web: Web, caller: Caller, entry_points: list[EntryPoint]) -> None:
    (events,) = (entry.path for entry in sockets(entry_points) if not entry.is_page)
    is_foreign = caller.origin not in (None, web.url)

    assert is_let_in(web, events, caller, ["x"]) == (Operation.READ in caller.rights and not is_foreign)


def test_nobody_joins_a_page_of_the_owner(
    web: Web, client: httpx.Client, caller: Caller, callers: Callers, entry_points: list[EntryPoint]
) -> None:
    owners = page_token(client, QUEUES, callers["owner"])
    # Signed with our own key, but made for no session: as if a program had opened the page.
    nobodys = generate_jwt_token(
        generate_session_id(page_key(web.services.settings), signed=True),
        secret_key=page_key(web.services.settings),
        signed=True,
        extra_payload={"headers": {}, "cookies": {}, "arguments": {}, "session_expiry": int(time.time()) + 300},
    )
    # A socket asks for no CSRF token: what counts is the page that it joins, and where that came from.
    is_owner = caller.name.startswith("owner") and caller.origin == web.url
    for entry in sockets(entry_points):
        if entry.is_page:
            token = nobodys if caller.is_token or is_owner else owners
            assert not is_let_in(web, entry.path, caller, ["bokeh", token]), (entry, caller.name)


@pytest.mark.parametrize("name", ["viewer", "owner"])
def test_whoever_opened_a_page_joins_it(
    web: Web, client: httpx.Client, callers: Callers, entry_points: list[EntryPoint], name: str
) -> None:
    for entry in sockets(entry_points):
        if entry.is_page:
            token = page_token(client, entry.path.removesuffix("/ws"), callers[name])
            assert is_let_in(web, entry.path, callers[name], ["bokeh", token]), entry


# What a browser sends through the socket --------------------------------------------------------


class BrowserSide:
    """The browser's side of a page's socket: sends what a click would, and reads what the page answers."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._receive("ACK")
        self._send("PULL-DOC-REQ", {})
        (self._view,) = set(_views(self._receive("PULL-DOC-REPLY")))

    def act(self, action: str, **arguments: Any) -> dict[str, Any]:
        """Ask for an action; answers what the page says of it."""
        values = {"model": {"id": self._view}, "data": _map({"id": 1, "action": action, "args": _map(arguments)})}
        event = {"type": "event", "name": "data_event", "values": _map(values)}
        self._send("PATCH-DOC", {"events": [{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}]})
        while True:
            for told in _plain(self._receive("PATCH-DOC"))["events"]:
                data = told.get("msg_data", {}).get("values", {}).get("data", {})
                if data.get("kind") == "answer":
                    return dict(data)

    def _send(self, kind: str, content: Any) -> None:
        for part in ({"msgid": "1", "msgtype": kind}, {}, content):
            self._socket.send(json.dumps(part))

    def _receive(self, kind: str) -> Any:
        while True:
            header, _, content = (json.loads(self._socket.recv(timeout=20)) for _ in range(3))
            if header["msgtype"] == kind:
                return content


def _map(values: dict[str, Any]) -> dict[str, Any]:
    return {"type": "map", "entries": list(values.items())}


def _plain(value: Any) -> Any:
    """Bokeh's maps as dictionaries."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dict) and value.get("type") == "map":
        return {name: _plain(inner) for name, inner in value.get("entries", [])}
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, dict) else value


def _views(value: Any) -> Iterator[str]:
    """The ids of what draws the page."""
    if isinstance(value, dict):
        if str(value.get("name", "")).startswith("panel.models.esm."):
            yield value["id"]
        value = list(value.values())
    for inner in value if isinstance(value, list) else ():
        yield from _views(inner)


@pytest.mark.parametrize(("name", "is_done"), [("viewer", False), ("owner", True)])
def test_a_page_s_socket_carries_out_only_what_its_visitor_may(
    web: Web, client: httpx.Client, callers: Callers, prepared: PreparedData, name: str, is_done: bool
) -> None:
    caller, before = callers[name], prepared.state()
    token = page_token(client, QUEUES, caller)
    with open_socket(web, f"{QUEUES}/ws", caller, ["bokeh", token]) as socket:
        answer = BrowserSide(socket).act("pause", queue=QUEUE)
    is_changed = prepared.state() != before
    prepared.reset()

    assert (answer["ok"], is_changed) == (is_done, is_done), answer
    assert is_done or answer["text"] == "act: viewer is VIEWER; this needs an OPERATOR"
