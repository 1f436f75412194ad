"""One request as the guard sees it, and what it hands on."""

from __future__ import annotations

import dataclasses
from typing import Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from teknav_ops.access.identity import Identity
from teknav_ops.api.methods import SAFE_METHODS
from teknav_ops.api.origin import Origin
from teknav_ops.api.problems import problem

#: Tells pages and their sockets which session they belong to. Set here only: what a client sends is dropped.
SESSION_HEADER: Final = "x-teknav-session"
_COOKIE: Final = "teknav_session"
_PROBES: Final = frozenset({"/healthz", "/readyz"})
#: The same for everybody: nobody is asked for, so these are served while Redis is away, too.
_SAME_FOR_ALL: Final = _PROBES | {"/favicon.ico", "/sign-in/style.css"}
_OPEN: Final = _PROBES | {"/sign-in", "/favicon.ico"}
_OPEN_BELOW: Final = ("/sign-in/", "/oidc/", "/assets/")
_STREAMS_BELOW: Final = "/api/realtime/"
#: What tokens may ask for, besides what is open to anybody: they are for programs, and pages are for people.
_FOR_PROGRAMS_BELOW: Final = ("/api/", "/ws/", "/reports/")


def is_open(path: str) -> bool:
    """Whether anybody may ask for the path: it holds no data."""
    return path in _OPEN or path.startswith(_OPEN_BELOW)


def wants_page(scope: Scope, headers: Headers) -> bool:
    """Whether a browser's window asks: whatever is answered, a person reads it."""
    is_at_page = not str(scope["path"]).startswith(("/api/", "/ws/", "/metrics"))
    return scope["type"] == "http" and is_at_page and "text/html" in headers.get("accept", "")


def cookie_name(origin: Origin) -> str:
    """Over TLS the name itself binds the cookie to this host: no other host of the domain can plant one.

    Below a path that is not to be had: such a cookie would be sent to, and set by, all that shares the host. The path
    stands in the name, so that what is installed further up or down is not mistaken for this.
    """
    if origin.prefix:
        return ("__Secure-" if origin.is_secure else "") + _COOKIE + origin.prefix.replace("/", "-")
    return f"__Host-{_COOKIE}" if origin.is_secure else _COOKIE


@dataclasses.dataclass(slots=True)
class Visit:
    """A request and who it comes from."""

    scope: Scope
    headers: Headers
    origin: Origin
    identity: Identity | None = None

    @property
    def method(self) -> str:
        """The method; a socket's is GET."""
        return str(self.scope.get("method", "GET"))

    @property
    def is_open(self) -> bool:
        """Whether anybody may ask for this."""
        return is_open(self.scope["path"]) and self.scope["type"] == "http"

    @property
    def is_probe(self) -> bool:
        """Whether a load balancer asks, by whatever name it knows us."""
        return self.scope["path"] in _PROBES

    @property
    def is_same_for_all(self) -> bool:
        """Whether who asks makes no difference."""
        path = str(self.scope["path"])
        return self.scope["type"] == "http" and (path in _SAME_FOR_ALL or path.startswith("/assets/"))

    @property
    def is_signing_in(self) -> bool:
        """Whether this is a way in, for which no session can be asked."""
        return str(self.scope["path"]).startswith(("/sign-in", "/oidc/"))

    @property
    def is_for_programs(self) -> bool:
        """Whether a token may ask for this at all."""
        path = str(self.scope["path"])
        return self.is_open or path == "/metrics" or path.startswith(_FOR_PROGRAMS_BELOW)

    @property
    def is_stream(self) -> bool:
        """Whether the answer is an event stream."""
        return str(self.scope["path"]).startswith(_STREAMS_BELOW)

    @property
    def is_use(self) -> bool:
        """Whether a person did something: open pages ask for streams and sockets by themselves."""
        return self.scope["type"] == "http" and not self.is_stream

    @property
    def is_foreign(self) -> bool:
        """Whether another site's page sent this. Programs send no Origin; a token cannot be sent by another site."""
        if self.scope["type"] == "http" and self.method in SAFE_METHODS:
            return False
        if self.headers.get("authorization"):
            return False
        origin = self.headers.get("origin")
        if origin is None:
            return self.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        return not self.origin.is_same(origin)

    def ask_to_sign_in(self) -> Response:
        """People are led to the sign-in page, programs told."""
        path = str(self.scope["path"])
        if self.method in SAFE_METHODS and wants_page(self.scope, self.headers):
            query = self.scope.get("query_string", b"").decode("latin-1")
            wanted = quote(path + (f"?{query}" if query else ""), safe="")
            return RedirectResponse(f"/sign-in?next={wanted}" if path != "/" else "/sign-in", 303)
        return problem(
            401, "Not signed in", "Sign in, or send a token as `Authorization: Bearer`.",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip


def inner_scope(visit: Visit) -> Scope:
    """What the application gets: the identity, and none of the secrets that proved it.

    Panel writes cookies and headers into the page, where a script could read them. And a page's own session must not be
    chosen by whoever asks for it.
    """
    identity = visit.identity
    hidden = {b"authorization", b"cookie", SESSION_HEADER.encode()}
    headers = [(name, value) for name, value in visit.scope["headers"] if name.lower() not in hidden]
    others = _other_cookies(visit.headers.get("cookie", ""))
    if others:
        headers.append((b"cookie", others.encode("latin-1", "replace")))
    if identity is not None and identity.session_id is not None:
        headers.append((SESSION_HEADER.encode(), identity.session_id.encode()))
    scope = {
        **visit.scope,
        "headers": headers,
        "state": {**visit.scope.get("state", {}), "identity": identity, "origin": visit.origin},
    }
    if b"bokeh" in unquote_to_bytes(visit.scope.get("query_string", b"")):
        scope["query_string"] = _without_page_id(visit.scope["query_string"])
    return scope


def _other_cookies(header: str) -> str:
    cookies = cookie_parser(header)
    return "; ".join(f"{name}={value}" for name, value in cookies.items() if _COOKIE not in name)


def _without_page_id(query: bytes) -> bytes:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([pair for pair in pairs if pair[0] not in ("bokeh-session-id", "bokeh_session_id")]).encode()
