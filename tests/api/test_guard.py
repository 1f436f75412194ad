"""The guard, attacked: on the whole app, pages and sockets included, with the list of entry points taken from it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import httpx
import pytest
from bokeh.util.token import generate_jwt_token, generate_session_id, get_session_id, get_token_payload
from bokeh_fastapi.handler import DocHandler
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from dashboards.app import add_pages
from dashboards.sockets import OwnPages
from teknav_ops.access.policy import Operation, Role
from teknav_ops.access.sessions import session_id_of
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.redis_state import keys
from teknav_ops.storage.tables import AuditLog
from tests.conftest import SECRET_KEY
from tests.support.entry_points import EntryPoint, entry_points_of
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.support.web import PASSWORD, ROOT, Web, served, settings_for

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")
QUEUES = "/dashboard/owner/queues"
#: What anybody may open: none of it holds data.
OPEN = {
    "/healthz", "/readyz", "/sign-in", "/sign-in/style.css", "/sign-in/first/x1", "/sign-in/link/x1", "/favicon.ico",
}  # fmt: skip

CLIMBS = (
    "../../pyproject.toml", "..%2f..%2fpyproject.toml", "%2e%2e/%2e%2e/pyproject.toml", "..\\..\\pyproject.toml",
    "/etc/passwd", "%2fetc%2fpasswd", "....//....//etc/passwd", "x%00.js",
)  # fmt: skip


@pytest.fixture(scope="module")
def house() -> Iterator[Web]:
    """Everything, with sara (OWNER) and vida (VIEWER)."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    settings = settings_for(folder, server.url, secret_key=SECRET_KEY, viewers_allowed=True)
    services = Services(settings)
    app = create_api(services, socket_checks=[OwnPages(settings)])
    add_pages(app, services)

    @app.get("/api/broken", include_in_schema=False)
    def broken() -> None:
        raise RuntimeError("secret words of a stack trace")

    with served(app) as running:
        running.add_user("sara")
        running.add_user("vida", Role.VIEWER)
        yield running
    server.stop()
    remove_folder(folder)


@pytest.fixture(scope="module")
def sara(house: Web) -> Iterator[httpx.Client]:
    with closing(house.sign_in("sara")) as browser:
        yield browser


@pytest.fixture(scope="module")
def vida(house: Web) -> Iterator[httpx.Client]:
    with closing(house.sign_in("vida")) as browser:
        yield browser


@pytest.fixture(scope="module")
def entry_points(house: Web) -> list[EntryPoint]:
    found = entry_points_of(house.app)
    assert len([entry for entry in found if entry.method == "WS"]) >= 5
    assert {"GET", "POST", "DELETE"} <= {entry.method for entry in found}
    assert len(found) > 40
    return found


def socket(
    house: Web, path: str, browser: httpx.Client | None = None, *, origin: str | None = "own", **options: Any
) -> ClientConnection:
    """Open a socket as a browser's page would."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar) if browser else ""
    headers = {**options.pop("headers", {}), **({"Cookie": cookies} if cookies else {})}
    return connect(
        f"ws://127.0.0.1:{house.port}{path}", additional_headers=headers,
        origin=house.url if origin == "own" else origin, open_timeout=20, **options,
    )  # type: ignore[arg-type]  # fmt: skip


def is_refused(house: Web, path: str, browser: httpx.Client | None = None, **options: Any) -> bool:
    """Whether the handshake is answered with 403."""
    try:
        with socket(house, path, browser, **options):
            return False
    except InvalidStatus as error:
        assert error.response.status_code == 403
        return True


def pages_of(app: FastAPI) -> list[Any]:
    """Bokeh's contexts: one per page, each with its open documents."""
    handlers = [getattr(context.endpoint, "__self__", None) for context in iter_route_contexts(app.routes)]
    return [handler.application_context for handler in handlers if isinstance(handler, DocHandler)]


def page_token(page: str) -> str:
    found = re.search(r'"token":\s*"([^"]+)"', page)
    assert found, page[:2_000]
    return found[1]


# Anonymous ---------------------------------------------------------------------------------------


def test_anonymous_gets_nothing_from_any_entry_point(house: Web, entry_points: list[EntryPoint]) -> None:
    leaks = []
    with house.browser() as people, httpx.Client(base_url=house.url, timeout=20) as programs:
        for entry in entry_points:
            if entry.path in OPEN or entry.path.startswith("/assets/"):
                continue
            if entry.method == "WS":
                if not is_refused(house, entry.path, subprotocols=["bokeh", "x"]):
                    leaks.append(entry)
                continue
            for client in (people, programs):
                answer = client.request(entry.method, entry.path)
                is_led = answer.status_code == 303 and answer.headers["location"].startswith("/sign-in")
                if not (is_led or answer.status_code == 401) or len(answer.content) > 400:
                    leaks.append((entry, answer.status_code, answer.text[:200]))
    assert leaks == []


def test_anonymous_entry_points_hold_no_data(house: Web, entry_points: list[EntryPoint]) -> None:
    assert {entry.path for entry in entry_points if entry.path.startswith("/sign-in")} <= OPEN
    with house.browser() as anybody:
        for path in OPEN:
            assert anybody.get(path).status_code in (200, 204, 303, 404, 410)


def test_a_wrong_cookie_or_token_is_nobody(house: Web) -> None:
    with house.browser(cookies={"teknav_session": "x" * 43}) as browser:
        assert browser.get(QUEUES).status_code == 303
    with house.with_token("tko_" + "x" * 43) as program:
        answer = program.get("/api/owner/queues")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["content-type"] == "application/problem+json"
    basic = httpx.get(f"{house.url}/api/owner/queues", headers={"authorization": "Basic c2FyYTp4"})
    assert basic.status_code == 401


def test_a_wrong_token_beside_a_good_cookie_is_refused(house: Web, sara: httpx.Client) -> None:
    assert sara.get("/api/owner/queues", headers={"authorization": "Bearer tko_x"}).status_code == 401


# VIEWER and scopes -------------------------------------------------------------------------------


def test_a_revoked_token_fails_at_once(house: Web) -> None:
    with house.with_token(house.token(Operation.READ, name="stolen")) as program:
        assert program.get("/api/owner/queues").status_code == 200
        house.services.entrance.tokens.revoke(ROOT, "stolen")
        assert program.get("/api/owner/queues").status_code == 401


def test_a_token_needs_no_csrf_token_and_no_origin(house: Web) -> None:
    secret = house.token(Operation.ACT, name="pauser")
    with house.with_token(secret) as program:
        assert program.put("/api/owner/queues/search:index/pause").status_code == 200
        assert program.delete("/api/owner/queues/search:index/pause").status_code == 200


def test_refusals_are_in_the_audit_trail_but_cannot_fill_it(house: Web) -> None:
    house.add_user("mina", Role.VIEWER)
    with closing(house.sign_in("mina")) as mina:
        csrf = {"x-csrf-token": house.csrf(mina)}
        for _ in range(40):
            assert mina.put("/api/owner/queues/search:index/pause", headers=csrf).status_code == 403

    with house.services.database.reading() as session:
        rows = session.query(AuditLog).where(AuditLog.action == "user.refused", AuditLog.actor == "mina").all()
    # Five a minute; the forty may lie in two minutes.
    assert 1 <= len(rows) <= 10
    assert rows[0].detail is not None and rows[0].detail["path"] == "/api/owner/queues/search:index/pause"


# Sessions ----------------------------------------------------------------------------------------


def test_a_stolen_cookie_ends_with_the_sign_out(house: Web) -> None:
    browser = house.sign_in()
    thief = house.browser(cookies={"teknav_session": browser.cookies["teknav_session"]})
    assert thief.get("/api/owner/queues").status_code == 200

    answer = browser.post("/sign-out", headers={"x-csrf-token": house.csrf(browser)})

    assert answer.status_code == 303 and answer.headers["location"] == "/sign-in"
    assert thief.get("/api/owner/queues").status_code == 401
    assert thief.get(QUEUES).status_code == 303
    assert "teknav_session" not in browser.cookies
    browser.close()
    thief.close()


def test_open_sockets_and_streams_end_with_the_session(house: Web) -> None:
    browser = house.sign_in()
    token = page_token(browser.get(QUEUES).text)
    with (
        socket(house, "/ws/queue-events", browser) as events,
        socket(house, f"{QUEUES}/ws", browser, subprotocols=["bokeh", token]) as page,
        browser.stream("GET", "/api/realtime/queue-events") as stream,
    ):
        assert stream.status_code == 200
        until(lambda: house.app.state.live.count >= 3, what="three open connections")

        other = house.browser(cookies={"teknav_session": browser.cookies["teknav_session"]})
        other.post("/sign-out", headers={"x-csrf-token": house.csrf(browser)})

        for opened in (events, page):
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    opened.recv(timeout=20)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 4401
        with suppress(httpx.RemoteProtocolError):
            for _ in stream.iter_bytes():
                pass
    until(lambda: house.app.state.live.count == 0, what="the end of all connections")
    other.close()
    browser.close()


def test_signing_in_makes_a_new_session_and_ends_the_old_one(house: Web) -> None:
    """An attacker who planted a cookie before the sign-in does not know the one after it."""
    with closing(house.sign_in()) as browser:
        planted = browser.cookies["teknav_session"]
        answer = browser.post("/sign-in", data={"name": "sara", "password": PASSWORD})
        assert answer.status_code == 303
        assert browser.cookies["teknav_session"] != planted
    with house.browser(cookies={"teknav_session": planted}) as attacker:
        assert attacker.get(QUEUES).status_code == 303


def test_pages_hold_no_secret_of_the_session(house: Web) -> None:
    """Panel writes headers and cookies into the page; a script there could read them."""
    with closing(house.sign_in()) as browser:
        browser.cookies.set("harmless", "biscuit")
        page = browser.get(QUEUES)
        token = page_token(page.text)
        body = token.split(".")[0]
        assert browser.cookies["teknav_session"] not in page.text
        assert house.csrf(browser) not in body
        assert browser.cookies["teknav_session"] not in json.dumps(get_token_payload(token))
        assert get_token_payload(token)["cookies"] == {"harmless": "biscuit"}


# Sockets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1.evil.example", None]
)
def test_a_foreign_page_opens_no_socket(house: Web, sara: httpx.Client, origin: str | None) -> None:
    token = page_token(sara.get(QUEUES).text)

    assert is_refused(house, "/ws/queue-events", sara, origin=origin)
    assert is_refused(house, f"{QUEUES}/ws", sara, origin=origin, subprotocols=["bokeh", token])


def test_our_own_page_opens_both(house: Web, sara: httpx.Client) -> None:
    token = page_token(sara.get(QUEUES).text)

    assert not is_refused(house, "/ws/queue-events", sara)
    assert not is_refused(house, f"{QUEUES}/ws", sara, subprotocols=["bokeh", token])


def test_nobody_joins_somebody_elses_page(house: Web, sara: httpx.Client, vida: httpx.Client) -> None:
    """A VIEWER in an OWNER's page would act as the OWNER."""
    token = page_token(sara.get(QUEUES).text)

    assert is_refused(house, f"{QUEUES}/ws", vida, subprotocols=["bokeh", token])
    with closing(house.sign_in()) as sara_again:
        assert is_refused(house, f"{QUEUES}/ws", sara_again, subprotocols=["bokeh", token])


def test_a_forged_page_token_opens_nothing(house: Web, vida: httpx.Client) -> None:
    identity = house.services.entrance.by_cookie(vida.cookies["teknav_session"], is_use=False)
    assert identity is not None
    forged = generate_jwt_token(
        generate_session_id(), signed=False, extra_payload={"headers": {"X-Teknav-Session": identity.session_id}}
    )

    for protocols in (["bokeh", forged], ["bokeh", "x"], ["bokeh"], None):
        assert is_refused(house, f"{QUEUES}/ws", vida, subprotocols=protocols)


def test_a_page_is_not_chosen_by_whoever_asks(house: Web, sara: httpx.Client, vida: httpx.Client) -> None:
    hers = get_session_id(page_token(sara.get(QUEUES).text))

    answer = vida.get(QUEUES, params={"bokeh_session_id": hers, "bokeh-session-id": hers, "state": "paused"})

    assert answer.status_code == 200
    assert get_session_id(page_token(answer.text)) != hers
    hidden = vida.get(f"{QUEUES}?%62okeh_session%5Fid={hers}&text=%D8%B3")
    assert hidden.status_code == 200 and get_session_id(page_token(hidden.text)) != hers
    assert get_token_payload(page_token(hidden.text))["arguments"] == {"text": ["س".encode()]}


def test_a_client_cannot_say_which_session_it_is(house: Web, sara: httpx.Client, vida: httpx.Client) -> None:
    hers = house.services.entrance.by_cookie(sara.cookies["teknav_session"], is_use=False)
    assert hers is not None and hers.session_id is not None
    page = vida.get(QUEUES, headers={"x-teknav-session": hers.session_id}).text

    assert hers.session_id not in json.dumps(get_token_payload(page_token(page)))


def test_a_token_opens_a_socket_without_an_origin(house: Web) -> None:
    headers = {"Authorization": f"Bearer {house.token(Operation.READ, name='listener')}"}

    assert not is_refused(house, "/ws/queue-events", origin=None, headers=headers)
    headers = {"Authorization": f"Bearer {house.token(Operation.ENQUEUE, name='no-listener')}"}
    assert is_refused(house, "/ws/queue-events", origin=None, headers=headers)


# CSRF --------------------------------------------------------------------------------------------


def test_a_change_needs_the_sessions_own_token(house: Web, sara: httpx.Client, vida: httpx.Client) -> None:
    pause, right = "/api/owner/queues/search:index/pause", house.csrf(sara)

    assert sara.put(pause).status_code == 403
    assert sara.put(pause, headers={"x-csrf-token": "wrong"}).status_code == 403
    assert sara.put(pause, headers={"x-csrf-token": ""}).status_code == 403
    assert sara.put(pause, headers={"x-csrf-token": house.csrf(vida)}).status_code == 403
    assert sara.put(pause, params={"csrf_token": right}).status_code == 403
    assert sara.put(pause, headers={"x-csrf-token": right}).status_code == 200
    assert sara.delete(pause, headers={"x-csrf-token": right}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused_even_with_the_token(
    house: Web, sara: httpx.Client, headers: dict[str, str]
) -> None:
    answer = sara.put("/api/owner/queues/search:index/pause", headers={"x-csrf-token": house.csrf(sara), **headers})
    assert answer.status_code == 403

    # Nor can another site sign somebody in as somebody else.
    with house.browser() as browser:
        assert browser.post("/sign-in", data={"name": "sara", "password": "x"}, headers=headers).status_code == 403


def test_a_form_may_carry_the_token_in_a_field(house: Web) -> None:
    with closing(house.sign_in()) as browser:
        token = house.csrf(browser)
        assert browser.post("/sign-out", data={"csrf_token": "wrong"}).status_code == 403
        assert browser.post("/sign-out", data={"csrf_token": token}).status_code == 303


# Hosts, headers, bodies --------------------------------------------------------------------------


def test_a_name_that_is_not_ours_is_refused(house: Web, sara: httpx.Client) -> None:
    """A stranger's name that was made to point here would make their page one of ours."""
    for host in (
        "evil.example",
        f"127.0.0.1.evil.example:{house.port}",
        "",
        "evil@127.0.0.1",
        "127.0.0.1/.evil.example",
    ):
        assert sara.get("/api/owner/queues", headers={"host": host}).status_code in (400, 421), host
        assert sara.get("/sign-in", headers={"host": host}).status_code in (400, 421), host
    assert sara.get("/healthz", headers={"host": "10.1.2.3"}).status_code == 200
    assert is_refused(house, "/ws/queue-events", sara, headers={"X-Forwarded-Host": "x"}, origin="http://evil.example")


def test_over_tls_the_cookie_is_bound_to_the_host(house: Web) -> None:
    tls = {"x-forwarded-proto": "https"}
    with house.browser() as browser:
        answer = browser.post("/sign-in", data={"name": "sara", "password": PASSWORD}, headers=tls)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-teknav_session=")
        assert {"Secure", "HttpOnly", "Path=/", "SameSite=lax"} <= set(cookie.split("; "))
        assert "domain" not in cookie.lower()
        assert answer.headers["strict-transport-security"]
        value = cookie.split("=", 1)[1].split(";")[0]
    # The same value under the other name is nothing over TLS, so no other host of the domain can plant it.
    with house.browser() as planted:
        assert planted.get(QUEUES, headers={**tls, "cookie": f"teknav_session={value}"}).status_code == 303
        assert planted.get(QUEUES, headers={**tls, "cookie": f"__Host-teknav_session={value}"}).status_code == 200


def test_every_answer_has_its_security_headers(house: Web, sara: httpx.Client) -> None:
    with house.browser() as anybody:
        answers = {
            "page": sara.get(QUEUES),
            "data": sara.get("/api/owner/queues"),
            "missing": sara.get("/nothing-here"),
            "broken": sara.get("/api/broken"),
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


def test_a_pages_scripts_carry_this_answers_nonce(house: Web, sara: httpx.Client) -> None:
    first, second = sara.get(QUEUES), sara.get(QUEUES)

    nonces = [
        re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])[0] for answer in (first, second)
    ]
    assert nonces[0] != nonces[1]
    tags = re.findall(r"<script\b[^>]*>", first.text)
    assert len(tags) > 5
    assert all(f'nonce="{nonces[0]}"' in tag for tag in tags)


def test_no_file_outside_its_folder_is_served(house: Web, sara: httpx.Client) -> None:
    assets = next(entry for entry in entry_points_of(house.app) if entry.path.startswith("/assets/"))
    folder = assets.path.rpartition("/")[0]
    for below in (folder, "/static", "/api/docs-files", "/components"):
        for climb in CLIMBS:
            request = sara.build_request("GET", f"{house.url}/")
            request.url = httpx.URL(house.url).copy_with(raw_path=f"{below}/{climb}".encode())
            answer = sara.send(request)
            assert answer.status_code in (400, 404, 405) or "text/html" in answer.headers.get("content-type", ""), climb
            assert "root:" not in answer.text and "[project]" not in answer.text


def test_without_redis_nobody_is_let_in(house: Web, sara: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ConnectionError as RedisConnectionError

    def fail(*_: Any, **__: Any) -> None:
        raise RedisConnectionError("away")

    monkeypatch.setattr(house.services.entrance, "by_cookie", fail)

    answer = sara.get("/api/owner/queues")
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert is_refused(house, "/ws/queue-events", sara)


def test_a_page_that_is_left_is_let_go(house: Web, sara: httpx.Client) -> None:
    """Else each visit's document would stay, and go on refreshing, for ever."""
    token = page_token(sara.get(QUEUES).text)
    contexts = [context for context in pages_of(house.app) if get_session_id(token) in context._sessions]
    (session,) = (context._sessions[get_session_id(token)] for context in contexts)
    with socket(house, f"{QUEUES}/ws", sara, subprotocols=["bokeh", token]):
        until(lambda: session.connection_count == 1, what="the open page")

    until(lambda: session.connection_count == 0, what="the end of the page")


def test_a_request_is_use_and_a_socket_is_not(house: Web) -> None:
    with closing(house.sign_in()) as browser:
        session_id = session_id_of(browser.cookies["teknav_session"])
        client = house.services.client

        def age() -> None:
            """As if nobody had clicked for long."""
            client.hset(keys.session(session_id), "seen_at_ms", "1")
            client.execute_command("PEXPIRE", keys.session(session_id), 60_000)

        def is_put_off() -> bool:
            return int(client.execute_command("PTTL", keys.session(session_id))) > 60_000

        age()
        with socket(house, "/ws/queue-events", browser):
            assert not is_put_off()
        browser.get("/api/owner/queues")
        assert is_put_off()
        age()
        identity = house.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
        assert identity is not None and not is_put_off()
        house.services.note_use(identity)
        assert is_put_off()
