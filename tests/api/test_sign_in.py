"""Signing in and out, as a browser does it."""

from __future__ import annotations

import html
import re
from contextlib import closing

import httpx
import pytest
from sqlalchemy import select

from teknav_ops.access.policy import Role
from teknav_ops.storage.tables import AuditLog
from tests.support.web import PASSWORD, ROOT, Web, field

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
    assert [user.name for user in web.services.entrance.users.all()] == ["sara"]


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
