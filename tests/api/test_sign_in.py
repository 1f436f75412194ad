"""Signing in and out, as a browser does it."""

from __future__ import annotations

import html
import re
import time
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from sqlalchemy import select

from teknav_ops.access import totp
from teknav_ops.access.policy import Role
from teknav_ops.access.second_factor import place_of
from teknav_ops.errors import InvalidRequest
from teknav_ops.storage.tables import AccessTotp, AuditLog
from tests.support.redis_server import RedisServer
from tests.support.sql_moments import at_commit_of
from tests.support.waiting import until
from tests.support.web import PASSWORD, ROOT, Web, api, field, served, settings_for

HOME = "/dashboard/owner/queues"


def post(
    browser: httpx.Client, name: str, password: str, *, address: str | None = None, next: str = ""
) -> httpx.Response:
    headers = {"x-forwarded-for": address} if address else {}
    return browser.post("/sign-in", data={"name": name, "password": password, "next": next}, headers=headers)


def actions(web: Web) -> list[tuple[str, str | None]]:
    with web.services.database.reading() as session:
        return [(row.action, row.actor) for row in session.scalars(select(AuditLog).order_by(AuditLog.id))]


def test_somebody_is_led_to_the_form_and_on_to_where_they_were_going(web: Web) -> None:
    web.add_user("سارا")
    with web.browser() as browser:
        led = browser.get("/dashboard/owner/queues/email:send?state=failed&text=%D8%B3")
        assert led.status_code == 303
        form = browser.get(led.headers["location"])
        assert form.status_code == 200
        wanted = html.unescape(field(form.text, "next"))
        assert wanted == "/dashboard/owner/queues/email:send?state=failed&text=%D8%B3"

        answer = post(browser, "سارا", PASSWORD, next=wanted)

        assert answer.status_code == 303 and answer.headers["location"] == wanted
        assert browser.get("/sign-in").status_code == 303
    assert actions(web)[-1] == ("user.signed_in", "سارا")


def test_the_form_works_without_scripts_by_keyboard_and_in_both_directions(web: Web) -> None:
    with web.browser() as browser:
        page = browser.get("/sign-in").text
        style = browser.get("/sign-in/style.css").text

    assert "<script" not in page and " style=" not in page
    assert '<meta name="viewport"' in page and 'lang="en"' in page
    for name in ("name", "password"):
        assert f'<label for="{name}">' in page
        assert re.search(rf'<input id="{name}"[^>]*dir="auto"', page)
    assert 'autocomplete="current-password"' in page and 'autocomplete="username"' in page
    assert "prefers-color-scheme: dark" in style and ":focus-visible" in style


def test_a_wrong_password_says_so_and_keeps_the_name_only(web: Web) -> None:
    web.add_user()
    with web.browser() as browser:
        answer = post(browser, 'sa"ra<b>', "wrong password <i>")

        assert answer.status_code == 401 and 'role="alert"' in answer.text
        assert html.unescape(field(answer.text, "name")) == 'sa"ra<b>'
        assert "<b>" not in answer.text and "wrong password" not in answer.text
        assert "teknav_session" not in browser.cookies
        wrong_password = post(browser, "sara", "wrong password")
    # Nothing tells a name that exists from one that does not.
    assert re.findall(r'role="alert"[^<]*', answer.text) == re.findall(r'role="alert"[^<]*', wrong_password.text)


def test_an_empty_form_is_told_what_it_misses(web: Web) -> None:
    with web.browser() as browser:
        assert browser.post("/sign-in").status_code == 422
        assert "Enter your name" in post(browser, "sara", "").text


def test_a_hundred_wrong_passwords(web: Web) -> None:
    web.add_user()
    with web.browser() as browser:
        statuses = [post(browser, "sara", f"guess {n}", address="203.0.113.9").status_code for n in range(100)]
        waiting = post(browser, "sara", PASSWORD, address="203.0.113.9")
        elsewhere = post(browser, "sara", PASSWORD, address="10.0.0.1")

    assert statuses[:5] == [401] * 5
    # A slow machine may let a wait run out; it grows all the same.
    assert statuses.count(401) < 12 and statuses.count(429) + statuses.count(401) == 100
    assert waiting.status_code in (303, 429)
    if waiting.status_code == 429:
        assert int(waiting.headers["retry-after"]) > 0 and "Wait" in waiting.text
    assert elsewhere.status_code == 303


def test_an_attacker_cannot_choose_the_address_that_is_counted(web: Web) -> None:
    """What stands left of the trusted proxy's own entry was written by whoever called it."""
    web.add_user()
    with web.browser() as browser:
        statuses = [
            post(browser, "sara", "guess", address=f"198.51.100.{n}, 203.0.113.9").status_code for n in range(12)
        ]

    assert 429 in statuses


@pytest.mark.parametrize(
    "next",
    [
        "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
        "javascript:alert(1)", "/x\r\nSet-Cookie: a=b", "evil.example", "", "/sign-in", "/sign-out",
        "http:/evil.example",
        "/%0d%0aX: y\n",
    ],
)  # fmt: skip
def test_signing_in_never_leads_to_another_site(web: Web, next: str) -> None:
    web.add_user()
    with web.browser() as browser:
        answer = post(browser, "sara", PASSWORD, next=next)

        assert answer.headers["location"] == HOME
        assert "a" not in answer.cookies
        assert browser.get("/sign-in", params={"next": next}).headers["location"] == HOME


def test_a_viewer_enters_only_where_viewers_do(web: Web) -> None:
    web.add_user("vida", Role.VIEWER)
    with web.browser() as browser:
        assert post(browser, "vida", PASSWORD).status_code == 401


def test_a_disabled_user_is_out_at_once(web: Web) -> None:
    web.add_user()
    web.add_user("ali")
    with closing(web.sign_in()) as browser:
        web.services.entrance.users.disable(ROOT, "sara")

        assert browser.get("/api/owner/queues").status_code == 401
        assert post(browser, "sara", PASSWORD).status_code == 401


def test_the_first_owner_comes_through_the_printed_link(web: Web) -> None:
    secret = web.services.entrance.links.for_first_owner()
    path = f"/sign-in/first/{secret}"
    with web.browser() as browser:
        # Twice: a chat program may have looked at the link before its reader does.
        assert browser.get(path).status_code == browser.get(path).status_code == 200
        weak = browser.post(path, data={"name": "سارا", "password": "short", "again": "short"})
        assert weak.status_code == 422 and "too few" in weak.text and html.unescape(field(weak.text, "name")) == "سارا"
        typo = browser.post(path, data={"name": "سارا", "password": PASSWORD, "again": "other"})
        assert typo.status_code == 422 and "not the same" in typo.text

        made = browser.post(path, data={"name": "سارا", "password": PASSWORD, "again": PASSWORD})

        assert made.status_code == 303 and made.headers["location"] == HOME
        assert browser.get("/api/owner/queues").status_code == 200
    with web.browser() as thief:
        assert thief.get(path).status_code == 410
        again = thief.post(path, data={"name": "thief", "password": PASSWORD, "again": PASSWORD})
        assert again.status_code == 410
        assert thief.get("/api/owner/queues").status_code == 401
    assert actions(web) == [("user.added", "سارا"), ("user.signed_in", "سارا")]


def test_a_link_for_the_first_owner_is_void_once_there_is_a_user_wherever_that_came_from(web: Web) -> None:
    path = f"/sign-in/first/{web.services.entrance.links.for_first_owner()}"
    web.add_user()
    with web.browser() as browser:
        assert browser.get(path).status_code == 410
        for password, again in ((PASSWORD, PASSWORD), ("short", "short"), (PASSWORD, "other")):
            answer = browser.post(path, data={"name": "thief", "password": password, "again": again})
            assert answer.status_code == 410 and "Welcome" not in answer.text
    assert [user.name for user in web.services.entrance.users.page().items] == ["sara"]


def test_a_users_link_signs_in_once_by_a_button(web: Web) -> None:
    web.add_user()
    path = f"/sign-in/link/{web.services.entrance.links.for_user(ROOT, 'sara')}"
    with web.browser() as browser, web.browser() as thief:
        assert "Sign in" in browser.get(path).text
        assert browser.post(path).status_code == 303
        assert browser.get("/api/owner/queues").status_code == 200

        assert thief.get(path).status_code == thief.post(path).status_code == 410
        assert thief.get("/sign-in/link/nonsense").status_code == 410


def test_signing_out_ends_the_session_and_says_so_in_the_trail(web: Web) -> None:
    web.add_user()
    with closing(web.sign_in()) as browser, web.browser() as thief:
        thief.cookies.set("teknav_session", browser.cookies["teknav_session"])
        assert thief.get("/api/owner/queues").status_code == 200

        answer = browser.post("/sign-out", data={"csrf_token": web.csrf(browser)})

        assert answer.status_code == 303
        assert thief.get("/api/owner/queues").status_code == 401
        assert browser.get("/api/owner/queues").status_code == 401
        # A second press, or a second tab: nothing to end any more.
        assert browser.post("/sign-out").status_code in (303, 401)
    assert actions(web)[-1] == ("user.signed_out", "sara")


def code_now(web: Web, name: str = "sara", *, later: int = 0) -> str:
    """What the user's app shows now, or will a few periods later."""
    user = web.services.entrance.users.named(name)
    with web.services.database.reading() as session:
        row = session.get_one(AccessTotp, user.id)
        key = web.services.entrance.factors._cipher.decrypt(row.sealed_key, place=place_of(user.id))
    return totp.code_of(key, int(time.time() // 30) + later)


def test_a_second_factor_is_asked_for_on_a_page_of_its_own_without_scripts(web: Web) -> None:
    web.add_user()
    factors, user = web.services.entrance.factors, web.services.entrance.users.named("sara")
    factors.begin(user.id, "sara")
    factors.confirm(user.id, "sara", code_now(web))
    with web.browser() as browser:
        asked = post(browser, "sara", PASSWORD, next="/dashboard/owner/workers")
        assert asked.status_code == 200 and "<script" not in asked.text and "teknav_session" not in browser.cookies
        assert 'autocomplete="one-time-code"' in asked.text
        form = {"challenge": field(asked.text, "challenge"), "next": field(asked.text, "next")}

        wrong = browser.post("/sign-in/code", data={**form, "code": "<b>000000"})
        assert (
            wrong.status_code == 401 and "<b>" not in wrong.text and field(wrong.text, "challenge") == form["challenge"]
        )
        right = browser.post("/sign-in/code", data={**form, "code": code_now(web, later=1)})

        assert (right.status_code, right.headers["location"]) == (303, "/dashboard/owner/workers")
        assert browser.get("/sign-in").status_code == 303
        over = browser.post("/sign-in/code", data={**form, "code": code_now(web, later=1)})
        assert over.status_code == 401 and "Sign in again" in over.text


def test_recovery_codes_are_told_though_redis_goes_away_on_the_way_in(own_server: RedisServer, tmp_path: Path) -> None:
    """They are kept nowhere, and the factor is on."""
    settings = settings_for(tmp_path, own_server.url, owners_need_second_factor=True)
    with served(api(settings)) as web:
        web.add_user()
        browser = web.browser()
        form = {"challenge": field(post(browser, "sara", PASSWORD).text, "challenge")}
        code = code_now(web)
        with at_commit_of(web.services.database, "UPDATE access_totp ", own_server.kill):
            made = browser.post("/sign-in/set-up", data={**form, "code": code})
        own_server.start()

        codes = re.findall(r"(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}", made.text)
        assert made.status_code == 200 and len(codes) == 10 and "not signed in yet" in made.text
        until(lambda: post(browser, "sara", PASSWORD).status_code == 200, what="Redis to be known to be back")
        form = {"challenge": field(post(browser, "sara", PASSWORD).text, "challenge")}
        assert browser.post("/sign-in/code", data={**form, "code": codes[0]}).status_code == 303


def test_a_set_up_that_took_too_long_or_is_done_leads_to_the_beginning(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    web.add_user()
    monkeypatch.setattr(web.services.entrance.second_step, "_owners_need_one", True)
    browser = web.browser()
    form = {"challenge": field(post(browser, "sara", PASSWORD).text, "challenge")}

    def refuse(*_: object) -> None:
        # As its five minutes end while the code is looked at.
        for key in web.services.client.keys("teknav:sign-in-challenge:*"):
            web.services.client.delete(key)
        raise InvalidRequest("code: this is not the app's present code")

    monkeypatch.setattr(web.services.entrance.factors, "confirm", refuse)
    late = browser.post("/sign-in/set-up", data={**form, "code": "000000"})

    assert late.status_code == 401 and "Sign in again" in late.text and 'name="password"' in late.text


def test_an_owner_who_needs_one_sets_it_up_on_the_way_in(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    web.add_user()
    monkeypatch.setattr(web.services.entrance.second_step, "_owners_need_one", True)
    with web.browser() as browser:
        page = post(browser, "sara", PASSWORD)
        assert "otpauth://totp/" in page.text and "teknav_session" not in browser.cookies
        form = {"challenge": field(page.text, "challenge"), "next": ""}
        wrong = browser.post("/sign-in/set-up", data={**form, "code": "000000"})
        key = re.search(r"<code>([A-Z2-7 ]+)</code>", page.text)
        assert wrong.status_code == 401 and key is not None and key[1] in wrong.text

        made = browser.post("/sign-in/set-up", data={**form, "code": code_now(web)})

        codes = re.findall(r"(?:[A-Z2-7]{4}-){3}[A-Z2-7]{4}", made.text)
        assert made.status_code == 200 and len(codes) == 10 and made.headers["cache-control"] == "no-store"
        assert browser.get(HOME).status_code != 303, "signed in"
    with web.browser() as browser:
        form = {"challenge": field(post(browser, "sara", PASSWORD).text, "challenge")}
        assert browser.post("/sign-in/code", data={**form, "code": codes[3]}).status_code == 303
