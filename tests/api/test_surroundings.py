"""What stands around every route: headers, nonces, limits of bodies, compressed files, addresses."""

from __future__ import annotations

import asyncio
import gzip
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import Message

from teknav_ops.api.headers import SecureHeaders, own_scripts, with_nonce
from teknav_ops.api.limits import BodyLimits
from teknav_ops.api.origin import Origins
from teknav_ops.api.static_cache import StaticCache
from teknav_ops.settings import Settings
from tests.support.redis_server import RedisServer
from tests.support.web import Web, api, served, settings_for

# Nonces ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("<script>a()</script>", '<script nonce="N">a()</script>'),
        ('<SCRIPT src="/x.js"></SCRIPT>', '<script nonce="N" src="/x.js"></SCRIPT>'),
        ("<script\n type=module>x</script ><p>", '<script nonce="N"\n type=module>x</script ><p>'),
        ("<scripted>", "<scripted>"),
        ("<!-- <script>a</script> -->", "<!-- <script>a</script> -->"),
        # Text inside a script that looks like one: data of a job, for example.
        (
            '<script type="application/json">{"a": "<script>evil()<\\/script>"}</script>',
            '<script nonce="N" type="application/json">{"a": "<script>evil()<\\/script>"}</script>',
        ),
        ("<p>&lt;script&gt;</p>", "<p>&lt;script&gt;</p>"),
    ],
)
def test_our_own_scripts_get_the_nonce(part: str, wanted: str) -> None:
    assert with_nonce(own_scripts(part).encode(), "N").decode() == wanted


@pytest.mark.parametrize(
    "brought_in",
    [
        "<script>evil()</script>", '<script nonce="N2">evil()</script>', '<script nonce="">evil()</script>',
        "<script src=//evil.example/x.js></script>", "<svg><script>evil()</script></svg>",
    ],
)  # fmt: skip
def test_a_script_that_somebody_brought_into_a_page_gets_none(brought_in: str) -> None:
    page = own_scripts("<script>ours()</script>") + f"<h1>{brought_in}</h1>"

    assert with_nonce(page.encode(), "N").decode() == f'<script nonce="N">ours()</script><h1>{brought_in}</h1>'


def test_a_page_with_a_script_brought_in_runs_only_ours(tmp_path: Path) -> None:
    """Through the app as it answers: the policy lets the nonce's scripts run, and no inline one besides."""

    async def page(_: Request) -> Response:
        return HTMLResponse(own_scripts("<script>ours()</script>") + "<script>evil()</script>")

    app = SecureHeaders(Starlette(routes=[Route("/", page)]), origins=Origins(Settings(data_dir=tmp_path)))
    answer = TestClient(app).get("/")

    (nonce,) = re.findall(r"'nonce-([^']+)'", answer.headers["content-security-policy"])
    assert answer.text == f'<script nonce="{nonce}">ours()</script><script>evil()</script>'


# Bodies ------------------------------------------------------------------------------------------


async def send_body(app: Any, pieces: list[bytes], *, announced: str | None = None, stalls: bool = False) -> int:
    """The status of the answer to a body that comes in pieces."""
    statuses: list[int] = []
    queue = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    if not stalls:
        queue.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        if queue:
            return queue.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = [(b"content-length", announced.encode())] if announced is not None else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    (status,) = statuses
    return status


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@pytest.mark.parametrize(
    ("pieces", "announced", "stalls", "status"),
    [
        ([b"x" * 10], "10", False, 200),
        ([b"x" * 60, b"x" * 40], None, False, 200),
        ([b"x" * 60, b"x" * 41], None, False, 413),
        ([], "101", False, 413),
        ([], "ten", False, 413),
        ([], "-1", False, 413),
        # More than was announced, in pieces.
        ([b"x" * 60] * 1_000, "10", False, 413),
        ([b"x" * 10], "50", True, 408),
    ],
)
def test_a_body_is_neither_too_large_nor_too_slow(
    pieces: list[bytes], announced: str | None, stalls: bool, status: int
) -> None:
    limited = BodyLimits(read_all, limit_bytes=100, piece_seconds=0.05)

    assert asyncio.run(send_body(limited, pieces, announced=announced, stalls=stalls)) == status


@pytest.mark.parametrize(
    ("pieces", "announced", "stalls", "status"),
    [
        ([b'{"a"'], "50", True, 408),
        ([], "50", True, 408),
        ([b"x" * 60] * 3, None, False, 413),
    ],
)
def test_a_route_that_reads_json_or_a_form_hides_neither(
    pieces: list[bytes], announced: str | None, stalls: bool, status: int
) -> None:
    """FastAPI takes whatever goes wrong while it reads a body for a fault of its content, and answers 400."""
    app = FastAPI()

    @app.post("/")
    def take(body: dict[str, Any]) -> dict[str, Any]:
        return body

    limited = BodyLimits(app, limit_bytes=100, piece_seconds=0.05)

    assert asyncio.run(send_body(limited, pieces, announced=announced, stalls=stalls)) == status


# Files -------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "app.js").write_text("let a = 1;\n" * 5_000)
    (folder / "tiny.js").write_text("1")
    (folder / "photo.png").write_bytes(b"\x89PNG" + bytes(range(256)) * 20)
    return folder


def file_app(folder: Path) -> Starlette:
    async def data(_: Request) -> Response:
        return JSONResponse({"a": 1})

    return Starlette(
        routes=[Mount("/static", StaticFiles(directory=folder)), Route("/data", data)],
        middleware=[Middleware(SecureHeaders, origins=Origins(Settings())), Middleware(StaticCache)],
    )


def get(app: Starlette, path: str, **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


def test_a_script_is_sent_compressed_and_revalidated(files: Path) -> None:
    app = file_app(files)
    first = get(app, "/static/app.js?v=1")

    assert first.headers["content-encoding"] == "gzip"
    assert int(first.headers["content-length"]) < 5_000 < len(first.content)
    assert first.headers["vary"] == "Accept-Encoding"
    assert "immutable" in first.headers["cache-control"] and "private" in first.headers["cache-control"]
    again = get(app, "/static/app.js", **{"if-none-match": first.headers["etag"]})
    assert again.status_code == 304
    assert "no-cache" in again.headers["cache-control"]
    plain = get(app, "/static/app.js", **{"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == first.content


def test_a_changed_file_is_sent_anew(files: Path) -> None:
    app = file_app(files)
    get(app, "/static/app.js")
    (files / "app.js").write_text("let b = 22;\n" * 5_000)

    assert get(app, "/static/app.js").text.startswith("let b")


def test_what_does_not_shrink_is_left_alone(files: Path) -> None:
    app = file_app(files)

    for path in ("/static/photo.png", "/static/tiny.js"):
        answer = get(app, path)
        assert answer.status_code == 200 and "content-encoding" not in answer.headers
    assert get(app, "/static/app.js", range="bytes=0-9").status_code == 206
    assert get(app, "/static/ghost.js").status_code == 404
    assert get(app, "/data").headers["cache-control"] == "no-store"


def test_the_memory_for_files_is_bounded(files: Path) -> None:
    cache = StaticCache(file_app(files), most_bytes=200)
    bodies = [f"{number}".encode() * 2_000 for number in range(20)]

    async def pack() -> list[bytes]:
        return [await cache.packed(("/x", str(number)), body) for number, body in enumerate(bodies)]

    packed = asyncio.run(pack())
    assert [gzip.decompress(item) for item in packed] == bodies
    assert cache._kept_bytes <= 200 and len(cache._kept) < 20


# Addresses ---------------------------------------------------------------------------------------


def scope_from(address: str, scheme: str = "http") -> dict[str, Any]:
    return {"type": "http", "client": (address, 1), "scheme": scheme, "headers": []}


def test_a_proxys_word_counts_only_from_a_trusted_one() -> None:
    origins = Origins(Settings(trusted_proxies=("10.0.0.0/8",)))  # type: ignore[arg-type]
    told = {"x-forwarded-for": "1.2.3.4, 5.6.7.8, 10.0.0.2", "x-forwarded-proto": "https", "host": "127.0.0.1"}

    behind = origins.read(scope_from("10.0.0.1"), told)
    assert (behind.address, behind.scheme) == ("5.6.7.8", "https")
    direct = origins.read(scope_from("5.6.7.8"), told)
    assert (direct.address, direct.scheme) == ("5.6.7.8", "http")
    nonsense = origins.read(scope_from("10.0.0.1"), {"x-forwarded-for": "not an address", "x-forwarded-proto": "ftp"})
    assert (nonsense.address, nonsense.scheme) == ("not an address", "http")
    assert origins.read({**scope_from(""), "client": None}, {}).address == ""


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:8800", True), ("LOCALHOST", True), ("[::1]:8800", True), ("ops.example", True),
        ("ops.example:444", True), ("board.example", True), ("evil.example", False), ("0.0.0.0:8800", False),
        ("ops.example.evil.example", False), ("ops.example@evil.example", False), ("", False), ("[::1", False),
        ("ops.example/..", False),
    ],
)  # fmt: skip
def test_we_answer_to_our_own_names_only(host: str, is_ours: bool) -> None:
    settings = Settings(
        web_address="0.0.0.0:8800", web_public_url="https://ops.example", allowed_hosts=("Board.example",)
    )
    origins = Origins(settings)

    assert origins.knows(origins.read(scope_from("10.0.0.1"), {"host": host.lower()})) is is_ours


@pytest.mark.parametrize(
    ("origin", "is_same"),
    [
        ("https://ops.example", True), ("https://ops.example:443", True), ("https://OPS.example", True),
        ("http://ops.example", False), ("https://ops.example:8443", False), ("https://ops.example.evil.example", False),
        ("null", False), ("", False), ("https://evil.example", False), ("https://[::1", False),
    ],
)  # fmt: skip
def test_an_origin_is_ours_with_its_scheme_and_port(origin: str, is_same: bool) -> None:
    origins = Origins(Settings(web_public_url="https://ops.example"))

    assert origins.read(scope_from("10.0.0.1", "https"), {"host": "ops.example"}).is_same(origin) is is_same


# Health ------------------------------------------------------------------------------------------


def test_a_process_lives_without_redis_but_is_not_ready(redis_server: RedisServer, tmp_path: Path) -> None:
    settings = settings_for(tmp_path, "redis://127.0.0.1:1/0", redis_timeout_seconds=0.2)
    with served(api(settings)) as away, away.browser() as browser:
        assert browser.get("/healthz").status_code == 200
        answer = browser.get("/readyz")
        assert answer.status_code == 503 and "redis" in answer.text and "127.0.0.1:1" not in answer.text
        signing_in = browser.post("/sign-in", data={"name": "sara", "password": "x"})
        assert signing_in.status_code == 503
    del redis_server


def test_a_process_that_can_work_says_so(web: Web) -> None:
    with web.browser() as browser:
        assert browser.get("/readyz").status_code == 200
