"""Serving below a path: the prefix is taken off what comes in, and put before redirects and cookies that leave."""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teknav_ops.path_prefix import current_prefix, under

_COOKIE_PATH: Final = re.compile(r"(?<=; path=)/[^;]*", re.I)
#: Starlette's answer to a slash too many or too few. It names scheme and host as this process sees them, which is not
#: what a browser sees through a proxy that ends TLS.
_OTHER_SLASH: Final = 307


class PathPrefix:
    """ASGI middleware, outside of all others. Proxies may pass the prefix on or strip it: both are understood."""

    def __init__(self, app: ASGIApp, *, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass requests on as if the host were ours alone."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        async def send_outside(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = self._outside(scope, message)
            await send(message)

        mark = current_prefix.set(self._prefix)
        try:
            await self._app(self._inside(scope), receive, send_outside)
        finally:
            current_prefix.reset(mark)

    def _inside(self, scope: Scope) -> Scope:
        path = str(scope["path"])
        if not self._prefix or under(self._prefix, path) != path:
            return scope
        raw = scope.get("raw_path") or b""
        shorter = {"path": path.removeprefix(self._prefix) or "/"}
        return {**scope, **shorter, "raw_path": raw.removeprefix(self._prefix.encode()) or b"/"}

    def _outside(self, scope: Scope, start: Message) -> list[tuple[bytes, bytes]]:
        headers = []
        for name, value in start["headers"]:
            text = value.decode("latin-1")
            if name.lower() == b"location":
                text = self._location(text, scope, start["status"])
            elif name.lower() == b"set-cookie":
                text = _COOKIE_PATH.sub(lambda found: self._cookie_path(found[0]), text)
            headers.append((name, text.encode("latin-1")))
        return headers

    def _cookie_path(self, path: str) -> str:
        # Without a slash at its end, so that the cookie is sent to the prefix itself, too.
        return (self._prefix or "/") if path == "/" else under(self._prefix, path)

    def _location(self, location: str, scope: Scope, status: int) -> str:
        own = f"{scope['scheme']}://{Headers(scope=scope).get('host', '')}/"
        if status == _OTHER_SLASH and location.startswith(own):
            # Two slashes at its beginning would name another host.
            location = "/" + location.removeprefix(own).lstrip("/")
        is_path = location.startswith("/") and not location.startswith("//")
        return under(self._prefix, location) if is_path else location
