"""Connections that stay open: cut when their session or token ends, not when the browser feels like it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final

import structlog
from anyio.to_thread import run_sync
from starlette.types import Message, Receive

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.identity import Identity

log = structlog.get_logger("teknav.api")

_CHECK_SECONDS: Final = 2.0
#: Close code for a socket whose session has ended; a page that sees it goes to the sign-in page.
SESSION_ENDED: Final = 4401
#: Sockets and event streams that one token may have open on one process: a program needs one, its replicas a few.
CONNECTIONS_PER_TOKEN: Final = 20
#: The same for a browser's session: each open tab has one.
CONNECTIONS_PER_SESSION: Final = 100


class LiveConnections:
    """All open sockets and event streams of this process, and one task that asks after their sessions."""

    def __init__(self, entrance: Entrance, *, check_seconds: float = _CHECK_SECONDS) -> None:
        self._entrance = entrance
        self._check_seconds = check_seconds
        self._open: dict[Identity, set[asyncio.Event]] = {}

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Check for as long as the block lasts."""
        task = asyncio.create_task(self._check_on())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    @contextlib.contextmanager
    def attached(self, identity: Identity) -> Iterator[asyncio.Event]:
        """An event that is set when the identity's session or token has ended."""
        ended = asyncio.Event()
        self._open.setdefault(identity, set()).add(ended)
        try:
            yield ended
        finally:
            events = self._open.get(identity, set())
            events.discard(ended)
            if not events:
                self._open.pop(identity, None)

    def is_full(self, identity: Identity) -> bool:
        """Whether a token or session has as many connections open as one may have."""
        mine = (identity.token_id, identity.session_id)
        open_count = sum(
            len(events) for other, events in self._open.items() if (other.token_id, other.session_id) == mine
        )
        return open_count >= (CONNECTIONS_PER_TOKEN if identity.via == "token" else CONNECTIONS_PER_SESSION)

    @property
    def count(self) -> int:
        """How many connections are open."""
        return sum(len(events) for events in self._open.values())

    async def check(self) -> None:
        """Cut the connections whose session or token has ended."""
        identities = list(self._open)
        if not identities:
            return
        try:
            still_in = await run_sync(self._entrance.still_in, identities)
        except Exception as error:
            # Whether they ended cannot be told while Redis is away; nothing new comes through them either.
            log.warning("sessions of open connections could not be checked", error=str(error))
            return
        for identity in identities:
            if identity not in still_in:
                for ended in list(self._open.get(identity, ())):
                    ended.set()

    async def _check_on(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            await self.check()


async def first_of(receive: Receive, ended: asyncio.Event) -> Message | None:
    """The next message; None when the session ends first."""
    if ended.is_set():
        return None
    message = asyncio.ensure_future(receive())
    end = asyncio.ensure_future(ended.wait())
    try:
        await asyncio.wait((message, end), return_when=asyncio.FIRST_COMPLETED)
        return message.result() if message.done() else None
    finally:
        end.cancel()
        if not message.done():
            message.cancel()
