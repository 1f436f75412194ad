"""Who is let in: nobody without a session or a token, and what was taken away is gone at once."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest

from teknav_ops.access.policy import Operation, Role
from teknav_ops.storage.tables import AuditLog
from tests.support.entry_points import EntryPoint
from tests.support.page_sockets import QUEUES, is_refused
from tests.support.web import ROOT, Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")
#: What anybody may open: none of it holds data.
OPEN = {
    "/healthz", "/readyz", "/sign-in", "/sign-in/style.css", "/sign-in/first/x1", "/sign-in/link/x1",
    "/sign-in/code", "/sign-in/set-up", "/sign-in/confirm", "/favicon.ico",
}  # fmt: skip


def test_anonymous_gets_nothing_from_any_entry_point(web: Web, entry_points: list[EntryPoint]) -> None:
    leaks = []
    with web.browser() as people, httpx.Client(base_url=web.url, timeout=20) as programs:
        for entry in entry_points:
            if entry.path in OPEN or entry.path.startswith("/assets/"):
                continue
            if entry.method == "WS":
                if not is_refused(web, entry.path, subprotocols=["bokeh", "x"]):
                    leaks.append(entry)
                continue
            for client in (people, programs):
                answer = client.request(entry.method, entry.path)
                is_led = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
                if not (is_led or answer.status_code == 401) or len(answer.content) > 1_000:
                    leaks.append((entry, answer.status_code, answer.text[:200]))
    assert leaks == []


def test_anonymous_entry_points_hold_no_data(web: Web, entry_points: list[EntryPoint]) -> None:
    assert {entry.path for entry in entry_points if entry.path.startswith("/sign-in")} <= OPEN
    with web.browser() as anybody:
        for path in OPEN:
            assert anybody.get(path).status_code in (200, 204, 303, 404, 405, 410)


def test_a_wrong_cookie_or_token_is_nobody(web: Web) -> None:
    with web.browser(cookies={"teknav_session": "x" * 43}) as browser:
        assert browser.get(QUEUES).status_code == 303
    with web.with_token("tko_" + "x" * 43) as program:
        answer = program.get("/api/owner/queues")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    basic = httpx.get(f"{web.url}/api/owner/queues", headers={"authorization": "Basic c2FyYTp4"})
    assert basic.status_code == 401


def test_a_wrong_token_beside_a_good_cookie_is_refused(web: Web, owner: httpx.Client) -> None:
    assert owner.get("/api/owner/queues", headers={"authorization": "Bearer tko_x"}).status_code == 401


def test_a_revoked_token_fails_at_once(web: Web) -> None:
    with web.with_token(web.token(Operation.READ, name="stolen")) as program:
        assert program.get("/api/owner/queues").status_code == 200
        web.services.entrance.tokens.revoke(ROOT, "stolen")
        assert program.get("/api/owner/queues").status_code == 401


def test_a_token_needs_no_csrf_token_and_no_origin(web: Web) -> None:
    secret = web.token(Operation.ACT, name="pauser")
    with web.with_token(secret) as program:
        assert program.put("/api/owner/queues/search:index/pause").status_code == 200
        assert program.delete("/api/owner/queues/search:index/pause").status_code == 200


def test_refusals_are_in_the_audit_trail_but_cannot_fill_it(web: Web) -> None:
    web.add_user("mina", Role.VIEWER)
    with closing(web.sign_in("mina")) as mina:
        csrf = {"x-csrf-token": web.csrf(mina)}
        for _ in range(40):
            assert mina.put("/api/owner/queues/search:index/pause", headers=csrf).status_code == 403

    with web.services.database.reading() as session:
        rows = session.query(AuditLog).where(AuditLog.action == "user.refused", AuditLog.actor == "mina").all()
    # Five a minute; the forty may lie in two minutes.
    assert 1 <= len(rows) <= 10
    assert rows[0].detail is not None and rows[0].detail["path"] == "/api/owner/queues/search:index/pause"
