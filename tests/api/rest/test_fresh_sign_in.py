"""What cannot be taken back, asked for over REST by a browser that signed in a while ago."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import httpx

from teknav_ops.redis_state import keys
from tests.support.state import KEYS, QUEUE, State
from tests.support.web import PASSWORD, Web

LETTERS = f"/api/owner/queues/{QUEUE}/dead-letters"


def purge(browser: httpx.Client, csrf: str) -> httpx.Response:
    return browser.delete(LETTERS, params={"confirm": QUEUE}, headers={"x-csrf-token": csrf})


def test_a_purge_is_refused_with_a_type_of_its_own_until_the_password_is_confirmed(site: Web, state: State) -> None:
    state.dead()
    site.add_user("patient")
    with closing(site.sign_in("patient")) as browser:
        csrf, cookie = site.csrf(browser), browser.cookies["teknav_session"]
        identity = site.services.entrance.by_cookie(cookie, is_use=False)
        assert identity is not None
        site.services.client.hset(keys.session(str(identity.session_id)), mapping={"is_proved": 0})

        answer = purge(browser, csrf)

        problem: dict[str, Any] = answer.json()
        assert (answer.status_code, problem["type"]) == (403, "urn:teknav:problem:fresh-sign-in-needed")
        assert "/sign-in/confirm" in problem["detail"] and state.client.zcard(KEYS.dlq) == 1

        form = browser.get("/sign-in/confirm", params={"next": "/api/docs"}).text
        assert "<script" not in form and "patient" in form and 'value="/api/docs"' in form
        wrong = browser.post("/sign-in/confirm", data={"password": "a guess of it"})
        assert wrong.status_code == 403 and "not your password" in wrong.text
        foreign = browser.post(
            "/sign-in/confirm", data={"password": PASSWORD}, headers={"origin": "https://evil.example"}
        )
        assert foreign.status_code == 403
        assert purge(browser, csrf).status_code == 403
        right = browser.post("/sign-in/confirm", data={"password": PASSWORD, "next": "/api/docs"})
        assert (right.status_code, right.headers["location"]) == (303, "/api/docs")
        assert browser.cookies["teknav_session"] == cookie

        assert purge(browser, csrf).json() == {"deleted_count": 1}


def test_nobody_is_led_to_the_sign_in_page(site: Web) -> None:
    with site.browser() as browser:
        assert browser.get("/sign-in/confirm?next=%2Fapi%2Fdocs").headers["location"] == "/sign-in?next=%2Fapi%2Fdocs"
        assert browser.post("/sign-in/confirm", data={"password": PASSWORD}).status_code == 303


def test_a_program_proves_itself_with_each_request(owner: httpx.Client, state: State) -> None:
    state.dead()

    assert owner.delete(LETTERS, params={"confirm": QUEUE}).json() == {"deleted_count": 1}
