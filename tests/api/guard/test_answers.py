"""Hosts, headers, files: what every answer has, and what none gives away."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.support.entry_points import entry_points_of
from tests.support.page_sockets import QUEUES, is_refused
from tests.support.web import PASSWORD, Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")
CLIMBS = (
    "../../pyproject.toml", "..%2f..%2fpyproject.toml", "%2e%2e/%2e%2e/pyproject.toml", "..\\..\\pyproject.toml",
    "/etc/passwd", "%2fetc%2fpasswd", "....//....//etc/passwd", "x%00.js",
)  # fmt: skip


def test_a_name_that_is_not_ours_is_refused(web: Web, owner: httpx.Client) -> None:
    """A stranger's name that was made to point here would make their page one of ours."""
    for host in (
        "evil.example",
        f"127.0.0.1.evil.example:{web.port}",
        "",
        "evil@127.0.0.1",
        "127.0.0.1/.evil.example",
    ):
        assert owner.get("/api/owner/queues", headers={"host": host}).status_code in (400, 421), host
        assert owner.get("/sign-in", headers={"host": host}).status_code in (400, 421), host
    assert owner.get("/healthz", headers={"host": "10.1.2.3"}).status_code == 200
    assert is_refused(web, "/ws/queue-events", owner, headers={"X-Forwarded-Host": "x"}, origin="http://evil.example")


def test_over_tls_the_cookie_is_bound_to_the_host(web: Web) -> None:
    tls = {"x-forwarded-proto": "https"}
    with web.browser() as browser:
        answer = browser.post("/sign-in", data={"name": "sara", "password": PASSWORD}, headers=tls)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-teknav_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
        assert "domain" not in cookie.lower()
        assert answer.headers["strict-transport-security"]
        value = cookie.split("=", 1)[1].split(";")[0]
    # The same value under the other name is nothing over TLS, so no other host of the domain can plant it.
    with web.browser() as planted:
        assert planted.get(QUEUES, headers={**tls, "cookie": f"teknav_session={value}"}).status_code == 303
        assert planted.get(QUEUES, headers={**tls, "cookie": f"__Host-teknav_session={value}"}).status_code == 200


def test_every_answer_has_its_security_headers(web: Web, owner: httpx.Client) -> None:
    with web.browser() as anybody:
        answers = {
            "page": owner.get(QUEUES),
            "data": owner.get("/api/owner/queues"),
            "missing": owner.get("/nothing-here"),
            "broken": owner.get("/api/broken"),
            "anonymous": anybody.get("/api/owner/queues", headers={"accept": "*/*"}),
            "sign-in": anybody.get("/sign-in"),
            "host": anybody.get("/sign-in", headers={"host": "evil.example"}),
            "large": anybody.post("/sign-in", content=b"x" * 3_000_000),
        }
    assert {name: answer.status_code for name, answer in answers.items()} == {
        "page": 200, "data": 200, "missing": 404, "broken": 500, "anonymous": 401, "sign-in": 200, "host": 421,
        "large": 413,
    }  # fmt: skip
    for name, answer in answers.items():
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self' blob: 'nonce-" in policy and "unsafe-eval" not in policy, name
        assert "'unsafe-inline'" not in policy.split("script-src", 1)[1].split(";")[0], name
        assert "frame-ancestors 'none'" in policy and "object-src 'none'" in policy, name
        assert answer.headers["x-content-type-options"] == "nosniff", name
        assert answer.headers["cross-origin-opener-policy"] == "same-origin", name
        assert answer.headers["cache-control"] == "no-store", name
        assert "server" not in answer.headers, name
    assert "secret words" not in answers["broken"].text


def test_a_pages_scripts_carry_this_answers_nonce(web: Web, owner: httpx.Client) -> None:
    first, second = owner.get(QUEUES), owner.get(QUEUES)

    nonces = [
        re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])[0] for answer in (first, second)
    ]
    assert nonces[0] != nonces[1]
    tags = re.findall(r"<script\b[^>]*>", first.text)
    assert len(tags) > 5
    assert all(f'nonce="{nonces[0]}"' in tag for tag in tags)


def test_no_file_outside_its_folder_is_served(web: Web, owner: httpx.Client) -> None:
    assets = next(entry for entry in entry_points_of(web.app) if entry.path.startswith("/assets/"))
    folder = assets.path.rpartition("/")[0]
    for below in (folder, "/static", "/api/docs-files", "/components"):
        for climb in CLIMBS:
            request = owner.build_request("GET", f"{web.url}/")
            request.url = httpx.URL(web.url).copy_with(raw_path=f"{below}/{climb}".encode())
            answer = owner.send(request)
            assert answer.status_code in (400, 404, 405) or "text/html" in answer.headers.get("content-type", ""), climb
            assert "root:" not in answer.text and "[project]" not in answer.text


def test_without_redis_nobody_is_let_in(web: Web, owner: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError

    def fail(*_: Any, **__: Any) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(web.services.entrance, "by_cookie", fail)

    answer = owner.get("/api/owner/queues")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert is_refused(web, "/ws/queue-events", owner)
