"""Sockets: from our own pages only, each by whoever opened the page."""

from __future__ import annotations

import json
from contextlib import closing

import httpx
import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id, get_session_id, get_token_payload

from teknav_ops.access.policy import Operation
from tests.support.page_sockets import QUEUES, is_refused, page_token
from tests.support.web import Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example", None]
)
def test_a_foreign_page_opens_no_socket(web: Web, owner: httpx.Client, origin: str | None) -> None:
    token = page_token(owner.get(QUEUES).text)

    assert is_refused(web, "/ws/queue-events", owner, origin=origin)
    assert is_refused(web, f"{QUEUES}/ws", owner, origin=origin, subprotocols=["bokeh", token])


def test_our_own_page_opens_both(web: Web, owner: httpx.Client) -> None:
    token = page_token(owner.get(QUEUES).text)

    assert not is_refused(web, "/ws/queue-events", owner)
    assert not is_refused(web, f"{QUEUES}/ws", owner, subprotocols=["bokeh", token])


def test_nobody_joins_somebody_elses_page(web: Web, owner: httpx.Client, viewer: httpx.Client) -> None:
    """A VIEWER in an OWNER's page would act as the OWNER."""
    token = page_token(owner.get(QUEUES).text)

    assert is_refused(web, f"{QUEUES}/ws", viewer, subprotocols=["bokeh", token])
    with closing(web.sign_in()) as sara_again:
        assert is_refused(web, f"{QUEUES}/ws", sara_again, subprotocols=["bokeh", token])


def test_a_forged_page_token_opens_nothing(web: Web, viewer: httpx.Client) -> None:
    identity = web.services.entrance.by_cookie(viewer.cookies["teknav_session"], is_use=False)
    assert identity is not None
    forged = generate_jwt_token(
        generate_session_id(), signed=False, extra_payload={"headers": {"X-Teknav-Session": identity.session_id}}
    )

    for protocols in (["bokeh", forged], ["bokeh", "x"], ["bokeh"], None):
        assert is_refused(web, f"{QUEUES}/ws", viewer, subprotocols=protocols)


def test_a_page_is_not_chosen_by_whoever_asks(web: Web, owner: httpx.Client, viewer: httpx.Client) -> None:
    hers = get_session_id(page_token(owner.get(QUEUES).text))

    answer = viewer.get(QUEUES, params={"bokeh_session_id": hers, "bokeh-session-id": hers, "state": "paused"})

    assert answer.status_code == 200
    assert get_session_id(page_token(answer.text)) != hers
    hidden = viewer.get(f"{QUEUES}?%62okeh_session%5Fid={hers}&text=%D8%B3")
    assert hidden.status_code == 200 and get_session_id(page_token(hidden.text)) != hers
    assert get_token_payload(page_token(hidden.text))["arguments"] == {"text": ["س".encode()]}


def test_a_client_cannot_say_which_session_it_is(web: Web, owner: httpx.Client, viewer: httpx.Client) -> None:
    hers = web.services.entrance.by_cookie(owner.cookies["teknav_session"], is_use=False)
    assert hers is not None and hers.session_id is not None
    page = viewer.get(QUEUES, headers={"x-teknav-session": hers.session_id}).text

    assert hers.session_id not in json.dumps(get_token_payload(page_token(page)))


def test_a_token_opens_a_socket_without_an_origin(web: Web) -> None:
    headers = {"Authorization": f"Bearer {web.token(Operation.READ, name='listener')}"}

    assert not is_refused(web, "/ws/queue-events", origin=None, headers=headers)
    headers = {"Authorization": f"Bearer {web.token(Operation.ENQUEUE, name='no-listener')}"}
    assert is_refused(web, "/ws/queue-events", origin=None, headers=headers)
