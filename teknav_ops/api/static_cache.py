"""Static files, compressed once and kept in memory: a first page moves megabytes of scripts otherwise."""

from __future__ import annotations

import asyncio
import gzip
from collections import OrderedDict
from typing import Final

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BELOW: Final = ("/static/", "/assets/")
_LEAST_BYTES: Final = 500
_MOST_BYTES: Final = 64 * 1024 * 1024
_PACKABLE: Final = ("text/", "application/javascript", "application/json", "image/svg", "font/ttf", "application/wasm")


class StaticCache:
    """ASGI middleware, inside of the guard. Files are looked at again when their ETag or size changes."""

    def __init__(self, app: ASGIApp, *, most_bytes: int = _MOST_BYTES) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._kept_bytes = 0
        self._lock = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the compressed file where the browser takes it."""
        if scope["type"] == "http" and scope["method"] == "GET" and scope["path"].startswith(_BELOW):
            headers = Headers(scope=scope)
            if "gzip" in headers.get("accept-encoding", "") and "range" not in headers:
                send = _Packer(self, scope["path"], send).send
        await self._app(scope, receive, send)

    async def packed(self, key: tuple[str, str], body: bytes) -> bytes:
        """The body compressed, from memory where it was asked for before."""
        async with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                return known
            packed = await run_sync(lambda: gzip.compress(body, 9, mtime=0))
            self._kept[key] = packed
            self._kept_bytes += len(packed)
            while self._kept_bytes > self._most_bytes and len(self._kept) > 1:
                self._kept_bytes -= len(self._kept.popitem(last=False)[1])
            return packed


class _Packer:
    """One answer: kept back until it is whole, then sent compressed."""

    def __init__(self, cache: StaticCache, path: str, send: Send) -> None:
        self._cache = cache
        self._path = path
        self._send = send
        self._start: Message | None = None
        self._pieces: list[bytes] = []

    async def send(self, message: Message) -> None:
        """The application's messages."""
        if message["type"] == "http.response.start":
            headers = Headers(raw=message["headers"])
            if message["status"] == 200 and _is_worth_it(headers):
                self._start = message
                return
        elif message["type"] == "http.response.body" and self._start is not None:
            self._pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._finish(self._start)
            return
        await self._send(message)

    async def _finish(self, start: Message) -> None:
        body, headers = b"".join(self._pieces), MutableHeaders(scope=start)
        etag = headers.get("etag", "")
        packed = await self._cache.packed((self._path, f"{etag}|{len(body)}"), body)
        headers["content-encoding"], headers["content-length"] = "gzip", str(len(packed))
        headers.add_vary_header("Accept-Encoding")
        if etag and not etag.startswith("W/"):
            # Another representation, so at most the same content: StaticFiles compares without the mark.
            headers["etag"] = f"W/{etag}"
        await self._send(start)
        await self._send({"type": "http.response.body", "body": packed, "more_body": False})


def _is_worth_it(headers: Headers) -> bool:
    kind = headers.get("content-type", "")
    length = headers.get("content-length", str(_LEAST_BYTES))
    return kind.startswith(_PACKABLE) and "content-encoding" not in headers and int(length) >= _LEAST_BYTES
