"""Users and tokens, changed over REST by an OWNER's browser: what holds afterwards, and what is refused how."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from teknav_ops.access.policy import Operation, Role
from teknav_ops.audit.trail import AuditFilter, AuditTrail
from teknav_ops.redis_state import keys
from tests.support.web import PASSWORD, Web, every_page

ACCESS = "/api/owner/access"


@pytest.fixture
def browser(site: Web, redis_server: object) -> Iterator[httpx.Client]:
    """An OWNER who has just signed in, and whose requests come from one of our pages."""
    if site.services.entrance.users.find("sara") is None:
        site.add_user("sara")
    with closing(site.sign_in("sara")) as opened:
        opened.headers["x-csrf-token"] = site.csrf(opened)
        yield opened


def user_of(browser: httpx.Client, name: str) -> dict[str, Any]:
    items: list[dict[str, Any]] = browser.get(f"{ACCESS}/users").json()["items"]
    (found,) = (user for user in items if user["name"] == name)
    return found


def test_a_user_is_added_changed_kept_out_and_removed(site: Web, browser: httpx.Client) -> None:
    body = {"name": "امید رضایی", "role": "OPERATOR", "password": PASSWORD, "queues": ["webhooks:*"]}
    added = browser.post(f"{ACCESS}/users", json=body)
    place = f"{ACCESS}/users/امید رضایی"
    assert (added.status_code, added.json()["queues"], added.json()["created_by"]) == (201, ["webhooks:*"], "sara")

    with closing(site.sign_in(body["name"])):
        (session,) = browser.get(f"{place}/sessions").json()["items"]
        assert session["how"] == "password"
        assert browser.delete(f"{place}/sessions/{session['session']}").status_code == 204
    with closing(site.sign_in(body["name"])):
        assert browser.put(f"{place}/role", json={"role": "VIEWER"}).json() == {"sessions_ended": 1}
    assert browser.put(f"{place}/password", json={"password": "another long password"}).status_code == 200
    with closing(site.sign_in(body["name"], "another long password")):
        assert browser.put(f"{place}/disabled").json() == {"sessions_ended": 1}
    assert user_of(browser, body["name"])["disabled_at"] is not None
    assert browser.delete(f"{place}/disabled").json()["disabled_at"] is None
    assert browser.delete(place).json() == {"sessions_ended": 0}

    assert site.services.entrance.users.find(body["name"]) is None
    trail = AuditTrail(site.services.database).page(AuditFilter(action="user.", actor="sara"))
    done = [entry.action for entry in trail.items if entry.detail.get("user") == body["name"]]
    assert sorted(done) == [
        "user.added",
        "user.disabled",
        "user.enabled",
        "user.password_changed",
        "user.removed",
        "user.role_changed",
        "user.session_ended",
    ]


def test_users_and_tokens_are_listed_a_page_at_a_time(site: Web, browser: httpx.Client) -> None:
    for name in ("page-1", "page-2"):
        site.add_user(name, Role.VIEWER)
        site.token(Operation.READ, role=Role.VIEWER, name=name)

    for path in ("users", "tokens"):
        listed = [item["name"] for page in every_page(browser, f"{ACCESS}/{path}", limit=1) for item in page["items"]]
        whole = browser.get(f"{ACCESS}/{path}").json()
        assert listed == [item["name"] for item in whole["items"]] and {"page-1", "page-2"} <= set(listed)
        assert whole["next_cursor"] is None and whole["total_count"] == len(listed)
        assert browser.get(f"{ACCESS}/{path}", params={"limit": 0}).status_code == 422


def test_a_token_s_secret_is_shown_once_and_counts_until_it_is_revoked(site: Web, browser: httpx.Client) -> None:
    body = {"name": "shop", "scopes": ["enqueue"], "queues": ["webhooks:*"], "expires_in_days": 7, "backlog_limit": 5}
    made = browser.post(f"{ACCESS}/tokens", json=body)
    token = made.json()["token"]
    assert made.status_code == 201
    assert (token["owner"], token["state"], token["backlog_limit"], token["scopes"]) == ("sara", "live", 5, ["enqueue"])
    assert token["role"] == "OWNER"
    with site.with_token(made.json()["secret"]) as program:
        assert program.get("/api/owner/queues").status_code == 403  # It may create jobs, and is known.
        assert browser.delete(f"{ACCESS}/tokens/shop").status_code == 204
        assert program.get("/api/owner/queues").status_code == 401
    assert made.json()["secret"] not in browser.get(f"{ACCESS}/tokens").text


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("DELETE", "users/nobody", None, 404, "there is no user 'nobody'"),
        ("PUT", "users/nobody/role", {"role": "VIEWER"}, 404, "there is no user 'nobody'"),
        ("PUT", "users/nobody/password", {"password": PASSWORD}, 404, "there is no user 'nobody'"),
        ("DELETE", "tokens/nothing", None, 404, "there is no live token 'nothing'"),
        ("DELETE", "users/sara/sessions/0000", None, 404, "no open session"),
        ("DELETE", "users/sara", None, 409, "last owner"),
        ("PUT", "users/sara/disabled", None, 409, "last owner"),
        ("PUT", "users/sara/role", {"role": "VIEWER"}, 409, "last owner"),
        ("PUT", "users/sara/role", {"role": "KING"}, 422, "body.role"),
        ("DELETE", "users/sara/second-factor", None, 409, "sara has none"),
        ("POST", "users", {"name": "sara", "role": "OWNER", "password": PASSWORD}, 422, "a user 'sara' already"),
        ("POST", "users", {"name": "a/b", "role": "OWNER", "password": PASSWORD}, 422, "name: '/' is not"),
        ("POST", "users", {"name": "ali", "role": "OWNER", "password": "password1234"}, 422, "password"),
        ("POST", "users", {"name": "ali", "role": "VIEWER", "password": PASSWORD, "queues": ["*"]}, 422, "queues:"),
        ("POST", "users", {"name": "ali", "role": "OPERATOR", "password": PASSWORD, "queues": []}, 422, "queues:"),
        ("POST", "tokens", {"name": "x y", "scopes": ["read"]}, 422, "name:"),
        ("POST", "tokens", {"name": "x", "scopes": []}, 422, "scope:"),
        ("POST", "tokens", {"name": "x", "scopes": ["administer"]}, 422, "scope:"),
        ("POST", "tokens", {"name": "x", "scopes": ["read"], "expires_in_days": 0}, 422, "body.expires_in_days"),
        ("POST", "tokens", {"name": "x", "scopes": ["read"], "jobs_per_minute": 5}, 422, "jobs_per_minute:"),
        ("POST", "tokens", {"name": "x", "scopes": ["enqueue"], "jobs_per_minute": True}, 422, "jobs_per_minute"),
        ("POST", "tokens", {"name": "x", "scopes": ["read"], "owner": "nobody"}, 422, "owner: 'nobody'"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_changes_nothing(
    site: Web, browser: httpx.Client, method: str, path: str, body: Any, status: int, words: str
) -> None:
    users, tokens = site.services.entrance.users.page().items, site.services.entrance.tokens.page().items

    answer = browser.request(method, f"{ACCESS}/{path}", json=body)

    assert (answer.status_code, words in answer.text) == (status, True), answer.text
    assert [(user.name, user.role, user.disabled_at) for user in site.services.entrance.users.page().items] == [
        (user.name, user.role, user.disabled_at) for user in users
    ]
    assert site.services.entrance.tokens.page().items == tokens


def test_a_change_needs_a_fresh_sign_in_and_looking_does_not(site: Web, browser: httpx.Client) -> None:
    (session,) = site.services.entrance.sessions.of("sara")
    site.services.client.hset(keys.session(session.id), mapping={"is_proved": 0})

    refused = browser.post(f"{ACCESS}/users", json={"name": "late", "role": Role.VIEWER, "password": PASSWORD})

    assert (refused.status_code, refused.json()["type"]) == (403, "urn:teknav:problem:fresh-sign-in-needed")
    assert site.services.entrance.users.find("late") is None
    assert browser.get(f"{ACCESS}/users").status_code == 200
