"""Sessions: how they end, what ends with them, and what no page may know of them."""

from __future__ import annotations

import json
from contextlib import closing, suppress

import httpx
import pytest
from bokeh.util.token import get_session_id, get_token_payload
from websockets.exceptions import ConnectionClosed

from teknav_ops.access.sessions import session_id_of
from teknav_ops.redis_state import keys
from tests.support.page_sockets import QUEUES, page_token, pages_of, socket
from tests.support.waiting import until
from tests.support.web import PASSWORD, Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")


def test_a_stolen_cookie_ends_with_the_sign_out(web: Web) -> None:
    browser = web.sign_in()
    thief = web.browser(cookies={"teknav_session": browser.cookies["teknav_session"]})
    assert thief.get("/api/owner/queues").status_code == 200

    answer = browser.post("/sign-out", headers={"x-csrf-token": web.csrf(browser)})

    assert answer.status_code == 303 and answer.headers["location"] == "/sign-in"
    assert thief.get("/api/owner/queues").status_code == 401
    assert thief.get(QUEUES).status_code == 303
    assert "teknav_session" not in browser.cookies
    browser.close()
    thief.close()


def test_open_sockets_and_streams_end_with_the_session(web: Web) -> None:
    browser = web.sign_in()
    token = page_token(browser.get(QUEUES).text)
    with (
        socket(web, "/ws/queue-events", browser) as events,
        socket(web, f"{QUEUES}/ws", browser, subprotocols=["bokeh", token]) as page,
        browser.stream("GET", "/api/realtime/queue-events") as stream,
    ):
        assert stream.status_code == 200
        until(lambda: web.app.state.live.count >= 3, what="three open connections")

        other = web.browser(cookies={"teknav_session": browser.cookies["teknav_session"]})
        other.post("/sign-out", headers={"x-csrf-token": web.csrf(browser)})

        for opened in (events, page):
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    opened.recv(timeout=20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        with suppress(httpx.RemoteProtocolError):
            for _ in stream.iter_bytes():
                pass
    until(lambda: web.app.state.live.count == 0, what="the end of all connections")
    other.close()
    browser.close()


def test_signing_in_makes_a_new_session_and_ends_the_old_one(web: Web) -> None:
    """An attacker who planted a cookie before the sign-in does not know the one after it."""
    with closing(web.sign_in()) as browser:
        planted = browser.cookies["teknav_session"]
        answer = browser.post("/sign-in", data={"name": "sara", "password": PASSWORD})
        assert answer.status_code == 303
        assert browser.cookies["teknav_session"] != planted
    with web.browser(cookies={"teknav_session": planted}) as attacker:
        assert attacker.get(QUEUES).status_code == 303


def test_pages_hold_no_secret_of_the_session(web: Web) -> None:
    """Panel writes headers and cookies into the page; a script there could read them."""
    with closing(web.sign_in()) as browser:
        browser.cookies.set("harmless", "biscuit")
        page = browser.get(QUEUES)
        token = page_token(page.text)
        body = token.split(".")[0]
        assert browser.cookies["teknav_session"] not in page.text
        assert web.csrf(browser) not in body
        assert browser.cookies["teknav_session"] not in json.dumps(get_token_payload(token))
        assert get_token_payload(token)["cookies"] == {"harmless": "biscuit"}


def test_a_page_that_is_left_is_let_go(web: Web, owner: httpx.Client) -> None:
    """Else each visit's document would stay, and go on refreshing, for ever."""
    token = page_token(owner.get(QUEUES).text)
    contexts = [context for context in pages_of(web.app) if get_session_id(token) in context._sessions]
    (session,) = (context._sessions[get_session_id(token)] for context in contexts)
    with socket(web, f"{QUEUES}/ws", owner, subprotocols=["bokeh", token]):
        until(lambda: session.connection_count == 1, what="the open page")

    until(lambda: session.connection_count == 0, what="the end of the page")


def test_a_request_is_use_and_a_socket_is_not(web: Web) -> None:
    with closing(web.sign_in()) as browser:
        session_id = session_id_of(browser.cookies["teknav_session"])
        client = web.services.client

        def age() -> None:
            """As if nobody had clicked for long."""
            client.hset(keys.session(session_id), "seen_at_ms", "1")
            client.execute_command("PEXPIRE", keys.session(session_id), 60_000)

        def is_put_off() -> bool:
            return int(client.execute_command("PTTL", keys.session(session_id))) > 60_000

        age()
        with socket(web, "/ws/queue-events", browser):
            assert not is_put_off()
        browser.get("/api/owner/queues")
        assert is_put_off()
        age()
        identity = web.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
        assert identity is not None and not is_put_off()
        web.services.note_use(identity)
        assert is_put_off()
