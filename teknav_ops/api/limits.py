"""Limits of a request's body: how large, and how slowly it may come."""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teknav_ops.api.problems import problem

#: Between two pieces of a body. A client slower than this only keeps a connection busy.
_PIECE_SECONDS: Final = 30.0


class _TooLarge(Exception):
    """More came than was announced or allowed."""


class _TooSlow(Exception):
    """Nothing came for too long."""


class BodyLimits:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, *, limit_bytes: int, piece_seconds: float = _PIECE_SECONDS) -> None:
        self._app = app
        self._limit_bytes = limit_bytes
        self._piece_seconds = piece_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a body through that keeps within the limits."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._limit_bytes:
            await self._too_large(scope, receive, send)
            return
        body = _Body(receive, self._limit_bytes, self._piece_seconds)
        is_started = False

        async def noticed(message: Message) -> None:
            nonlocal is_started
            if body.failure is not None and not is_started:
                # The app's words on a body that it could not read: it cannot know why.
                return
            is_started = True
            await send(message)

        try:
            await self._app(scope, body.receive, noticed)
        except (_TooLarge, _TooSlow):
            if is_started:
                raise
        if is_started or body.failure is None:
            return
        if isinstance(body.failure, _TooLarge):
            await self._too_large(scope, receive, send)
        else:
            words = "The request's body did not arrive in time."
            await problem(408, "Too slow", words, headers={"Connection": "close"})(scope, receive, send)

    async def _too_large(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"The body may have {self._limit_bytes} bytes. Store the data elsewhere and send its id."
        await problem(413, "Too large", detail, headers={"Connection": "close"})(scope, receive, send)


class _Body:
    """Counts what comes in."""

    def __init__(self, receive: Receive, limit_bytes: int, piece_seconds: float) -> None:
        self._receive = receive
        self._left = limit_bytes
        self._piece_seconds = piece_seconds
        self._is_whole = False
        #: Why it cannot be read to its end.
        self.failure: _TooLarge | _TooSlow | None = None

    async def receive(self) -> Message:
        """The next piece. After the last one, whoever asks waits for the client to go: that may take long."""
        if self._is_whole:
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._piece_seconds)
        except TimeoutError:
            self.failure = _TooSlow()
            raise self.failure from None
        self._left -= len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._left < 0:
            self.failure = _TooLarge()
            raise self.failure
        return message
