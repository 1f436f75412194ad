"""Security headers on every answer, the nonce in pages, and how long browsers may keep what they get."""

from __future__ import annotations

import re
import secrets
from typing import Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teknav_ops.api.origin import Origins
from teknav_ops.api.problems import problem

log = structlog.get_logger("teknav.api")

_POLICY: Final = "; ".join(
    (
        "default-src 'self'", "script-src 'self' blob: 'nonce-{nonce}'", "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:", "connect-src 'self' blob:", "font-src 'self' data:", "worker-src 'self' blob:",
        "frame-ancestors 'none'", "base-uri 'none'", "object-src 'none'", "form-action 'self'",
    )
)  # fmt: skip
_ALWAYS: Final = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)
_ONE_YEAR: Final = "max-age=31536000"
_STATIC_BELOW: Final = ("/static/", "/assets/")
_TAGS: Final = re.compile(r"<!--.*?-->|<script\b[^>]*>.*?</script\s*>", re.I | re.S)
#: Stands in the scripts that we wrote ourselves, until the answer's nonce takes its place. Nobody outside of this
#: process ever sees it, so a script that somebody brought into a page cannot carry it.
_OWN: Final = f'<script nonce="{secrets.token_urlsafe(18)}"'


class SecureHeaders:
    """ASGI middleware, outside of the guard: what the guard answers gets them too, and so does an error."""

    def __init__(self, app: ASGIApp, *, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        is_secure = self._origins.read(scope, Headers(scope=scope)).is_secure
        answer = _Answer(scope, send, is_secure)
        try:
            await self._app(scope, receive, answer.send)
        except Exception:
            if not answer.is_started:
                await problem(500, "Server error", "Something broke here; the log says what.")(
                    scope, receive, answer.send
                )
            # The server writes it into the log.
            raise


class _Answer:
    """Passes an answer on with headers; keeps back a page until it is whole, to put the nonce into its scripts."""

    def __init__(self, scope: Scope, send: Send, is_secure: bool) -> None:
        self._scope = scope
        self._send = send
        self._is_secure = is_secure
        self._nonce = secrets.token_urlsafe(18)
        self._page: Message | None = None
        self._body: list[bytes] = []
        self.is_started = False

    async def send(self, message: Message) -> None:
        """The application's messages."""
        if message["type"] == "http.response.start":
            self.is_started = True
            headers = MutableHeaders(scope=message)
            self._complete(headers)
            if _is_page(headers):
                self._page = message
                return
        elif message["type"] == "http.response.body" and self._page is not None:
            self._body.append(message.get("body", b""))
            if not message.get("more_body", False):
                await self._send_page(self._page)
            return
        await self._send(message)

    async def _send_page(self, start: Message) -> None:
        body = with_nonce(b"".join(self._body), self._nonce)
        MutableHeaders(scope=start)["content-length"] = str(len(body))
        await self._send(start)
        is_asked = self._scope["method"] != "HEAD"
        await self._send({"type": "http.response.body", "body": body if is_asked else b"", "more_body": False})

    def _complete(self, headers: MutableHeaders) -> None:
        for name, value in _ALWAYS:
            headers.setdefault(name, value)
        headers.setdefault("content-security-policy", _POLICY.format(nonce=self._nonce))
        if self._is_secure:
            headers.setdefault("strict-transport-security", _ONE_YEAR)
        headers.setdefault("cache-control", self._caching())

    def _caching(self) -> str:
        """Data is kept nowhere. Files are kept for good where their address names their version."""
        if not str(self._scope["path"]).startswith(_STATIC_BELOW):
            return "no-store"
        query = self._scope.get("query_string", b"")
        return f"private, {_ONE_YEAR}, immutable" if query.startswith(b"v=") or b"&v=" in query else "private, no-cache"


def _is_page(headers: MutableHeaders) -> bool:
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


def own_scripts(part: str) -> str:
    """A part of a page that we or our libraries wrote, with its scripts marked as ours: they will carry the nonce.

    What merely looks like a script inside a script or a comment stays as it is. Nothing that somebody typed may be in
    the part but as data inside of a script.
    """

    def put(match: re.Match[str]) -> str:
        return match[0] if match[0].startswith("<!--") else _OWN + match[0][len("<script") :]

    return _TAGS.sub(put, part)


def with_nonce(page: bytes, nonce: str) -> bytes:
    """The page with the nonce in the scripts that were marked as ours, and in no other."""
    return page.replace(_OWN.encode(), f'<script nonce="{nonce}"'.encode())
