"""The guard: stands in front of everything, finds out who is there, and lets nobody else in.

Pages, sockets, event streams and REST pass through the same few questions: is this host ours, is this origin ours, who
is it, may the role do such a thing at all. Routes then ask for the operation itself.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import structlog
from anyio.to_thread import run_sync
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.identity import Identity, current_identity
from teknav_ops.access.policy import SOME_QUEUE, Operation
from teknav_ops.api.csrf import has_token
from teknav_ops.api.live import SESSION_ENDED, LiveConnections, first_of
from teknav_ops.api.methods import SAFE_METHODS
from teknav_ops.api.origin import Origins
from teknav_ops.api.problems import problem
from teknav_ops.api.visit import Visit, cookie_name, inner_scope
from teknav_ops.errors import StorageUnavailable
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

log = structlog.get_logger("teknav.api")

#: Asked before a socket is let through; answers whether it may be.
SocketCheck = Callable[[Scope, Identity], bool]
T = TypeVar("T")
_BEARER: Final = "bearer "
_LOOK_SECONDS: Final = 0.25
_NO_PAGE: Final = "A token opens no page: it is for programs, which use /api/. Sign in with a browser."


class Guard:
    """ASGI middleware. `socket_checks` are further questions to sockets, such as whose page they belong to.

    `is_redis_away` spares people and programs the wait for a server that does not answer.
    """

    def __init__(
        self, app: ASGIApp, *, entrance: Entrance, origins: Origins, live: LiveConnections,
        socket_checks: Sequence[SocketCheck] = (), is_redis_away: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        self._app = app
        self._entrance = entrance
        self._origins = origins
        self._live = live
        self._socket_checks = socket_checks
        self._is_redis_away = is_redis_away

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through with its identity, or answer it."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        visit = Visit(scope, headers, self._origins.read(scope, headers))
        try:
            refusal = self._check_address(visit) or await self._identify(visit)
            if refusal is None and scope["type"] == "http":
                refusal, receive = await self._check_request(visit, receive)
            elif refusal is None:
                refusal = self._check_socket(visit)
        except (StorageUnavailable, *OUTAGE_ERRORS) as error:  # type: ignore[misc]
            log.warning("nobody can be let in: Redis or the database does not answer", error=str(error))
            refusal = problem(503, "Unavailable", "Redis or the database does not answer. Nothing was done; try again.",
                              headers={"Retry-After": "2"})  # fmt: skip
        if refusal is not None:
            await self._answer(refusal, scope, receive, send)
            return
        await self._let_through(visit, receive, send)

    # Who is it -----------------------------------------------------------------------------------

    def _check_address(self, visit: Visit) -> Response | None:
        if not self._origins.knows(visit.origin) and not visit.is_probe:
            return problem(421, "Unknown host", "This name is not served here. Add it to TEKNAV_ALLOWED_HOSTS.")
        if visit.is_foreign:
            return problem(403, "Foreign origin", "The request comes from another site.")
        return None

    async def _identify(self, visit: Visit) -> Response | None:
        if visit.is_same_for_all:
            return None
        self._require_redis()
        authorization = visit.headers.get("authorization", "")
        if authorization:
            if authorization[: len(_BEARER)].lower() == _BEARER:
                visit.identity = await run_sync(self._entrance.by_token, authorization[len(_BEARER) :].strip())
            if visit.identity is None and not visit.is_open:
                return _unauthorized("The token is unknown, revoked or expired.")
            return None
        cookie = cookie_parser(visit.headers.get("cookie", "")).get(cookie_name(visit.origin))
        if cookie:
            find = lambda: self._entrance.by_cookie(cookie, is_use=visit.is_use)  # noqa: E731
            visit.identity = await self._unless_away(find)
        if visit.identity is None and not visit.is_open:
            return visit.ask_to_sign_in()
        return None

    async def _unless_away(self, find: Callable[[], T]) -> T:
        """What `find` answers; as an outage as soon as Redis is known to be away, not when the command times out."""
        finding = asyncio.ensure_future(run_sync(find, abandon_on_cancel=True))
        try:
            while not finding.done():
                self._require_redis()
                await asyncio.wait({finding}, timeout=_LOOK_SECONDS)
            return finding.result()
        finally:
            finding.cancel()

    def _require_redis(self) -> None:
        if self._is_redis_away():
            raise RedisConnectionError("Redis does not answer")

    # May it --------------------------------------------------------------------------------------

    async def _check_request(self, visit: Visit, receive: Receive) -> tuple[Response | None, Receive]:
        identity = visit.identity
        if identity is None or visit.is_signing_in:
            return None, receive
        if identity.via == "token" and not visit.is_for_programs:
            await run_sync(lambda: self._record_refusal(visit, identity, Operation.READ))
            return problem(403, "Not allowed", _NO_PAGE), receive
        if visit.method not in SAFE_METHODS:
            if identity.via == "session":
                right, receive = await has_token(visit, receive)
                if not right:
                    return problem(403, "CSRF token missing", "Send the session's token as X-CSRF-Token."), receive
            if visit.scope["path"] == "/sign-out":
                return None, receive
            wanted = Operation.ENQUEUE if identity.may(Operation.ENQUEUE, SOME_QUEUE) else Operation.ACT
        else:
            wanted = Operation.METRICS if visit.scope["path"] == "/metrics" else Operation.READ
        if identity.may(wanted, SOME_QUEUE) or visit.is_open:
            return None, receive
        await run_sync(lambda: self._record_refusal(visit, identity, wanted))
        return problem(403, "Not allowed", f"This needs the right to {wanted}."), receive

    def _check_socket(self, visit: Visit) -> Response | None:
        identity = visit.identity
        if identity is None or not identity.may(Operation.READ):
            return problem(403, "Not allowed", "Sign in first.")
        if identity.via == "token" and not visit.is_for_programs:
            return problem(403, "Not allowed", _NO_PAGE)
        # A browser always says where a page came from; a cookie without that is no browser of ours.
        if identity.via == "session" and not visit.headers.get("origin"):
            return problem(403, "Foreign origin", "The Origin header is missing.")
        if not all(check(visit.scope, identity) for check in self._socket_checks):
            return problem(403, "Not allowed", "This socket belongs to somebody else's page.")
        return None

    def _record_refusal(self, visit: Visit, identity: Identity, wanted: Operation) -> None:
        self._entrance.refusals.record(
            "user.refused", actor=identity.operator.name, address=visit.origin.address, operation=wanted.value,
            method=visit.method, path=visit.scope["path"],
        )  # fmt: skip

    async def _answer(self, refusal: Response, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            # Closed before it was accepted: the server answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
            return
        await refusal(scope, receive, send)

    # Through -------------------------------------------------------------------------------------

    async def _let_through(self, visit: Visit, receive: Receive, send: Send) -> None:
        if visit.identity is not None:
            visit.identity = dataclasses.replace(visit.identity, address=visit.origin.address)
        scope = inner_scope(visit)
        mark = current_identity.set(visit.identity)
        try:
            is_lasting = scope["type"] == "websocket" or visit.is_stream
            # Nothing waits between this question and the connection's being counted: many at once are not let through.
            if visit.identity is not None and is_lasting and self._live.is_full(visit.identity):
                await self._answer(_too_many(), scope, receive, send)
            elif visit.identity is not None and scope["type"] == "websocket":
                await self._socket(visit.identity, scope, receive, send)
            elif visit.identity is not None and visit.is_stream:
                await self._stream(visit.identity, scope, receive, send)
            else:
                await self._app(scope, receive, send)
        finally:
            current_identity.reset(mark)

    async def _socket(self, identity: Identity, scope: Scope, receive: Receive, send: Send) -> None:
        is_over = False

        with self._live.attached(identity) as ended:

            async def receive_while_in() -> Message:
                nonlocal is_over
                message = None if is_over else await first_of(receive, ended)
                if message is None:
                    if not is_over:
                        is_over = True
                        await send({"type": "websocket.close", "code": SESSION_ENDED, "reason": "signed out"})
                    return {"type": "websocket.disconnect", "code": SESSION_ENDED}
                return message

            async def send_while_in(message: Message) -> None:
                if not is_over:
                    await send(message)

            await self._app(scope, receive_while_in, send_while_in)

    async def _stream(self, identity: Identity, scope: Scope, receive: Receive, send: Send) -> None:
        """An event stream ends with its session: it is told that the client has gone."""
        with self._live.attached(identity) as ended:

            async def receive_while_in() -> Message:
                return await first_of(receive, ended) or {"type": "http.disconnect"}

            async def send_while_in(message: Message) -> None:
                if ended.is_set():
                    raise OSError("the session has ended")
                await send(message)

            await self._app(scope, receive_while_in, send_while_in)


def _unauthorized(detail: str) -> Response:
    return problem(401, "Not signed in", detail, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


def _too_many() -> Response:
    words = "This token or session has too many sockets and event streams open; close some."
    return problem(429, "Too many connections", words, headers={"Retry-After": "10"})
