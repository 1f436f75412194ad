"""Following events as a client: from an id or from now on, filtered, each once, with notice of what is missing."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, Iterable
from typing import Final

from anyio.to_thread import run_sync

from teknav_ops.api.realtime.hub import Hub, Told, place_of, told
from teknav_ops.errors import InvalidRequest, TekNavError
from teknav_ops.events.models import EVENTS
from teknav_ops.events.subscribe import newest_id, read_since
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.topology import Topology

HEARTBEAT_SECONDS: Final = 15.0
#: A client that takes nothing for so long is dropped; it may come back and go on from where it was.
SEND_SECONDS: Final = 20.0
CLIENT_LIMIT: Final = 1_000
_RETRY_SECONDS: Final = 1.0


class TooManyClients(TekNavError):
    """This process tells as many clients as it may."""


@dataclasses.dataclass(frozen=True, slots=True)
class Wanted:
    """Which events a client wants; None is all."""

    queues: frozenset[str] | None = None
    types: frozenset[str] | None = None

    def matches(self, event: Told) -> bool:
        """Whether the client wants it: its type, and at least one of its queues."""
        if self.types is not None and event.type not in self.types:
            return False
        return self.queues is None or not self.queues.isdisjoint(event.queues)


def wanted_of(topology: Topology, queues: Iterable[str] | None, types: Iterable[str] | None) -> Wanted:
    """What a client asked for. Raises UnknownQueue, or InvalidRequest for a type that there is not."""
    names = None if queues is None else frozenset(topology[name].name for name in queues)
    kinds = None if types is None else frozenset(types)
    if unknown := sorted((kinds or frozenset()) - EVENTS.keys()):
        raise InvalidRequest(f"type: no {unknown[0]!r}; there are {', '.join(EVENTS)}")
    return Wanted(names, kinds)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """What a client is told next, oldest first; nothing is a heartbeat. `last_id` is where it stands then."""

    events: list[Told]
    last_id: str
    is_gap: bool = False


class Following:
    """One client's place in the events. `wanted` may be changed at any time."""

    def __init__(
        self, hub: Hub, client: Client, wanted: Wanted, *, last_id: str | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:  # fmt: skip
        self._hub = hub
        self._client = client
        self.wanted = wanted
        self._asked_id = last_id
        self._heartbeat_seconds = heartbeat_seconds
        #: Where the client stands; '' until that is known.
        self.last_id = ""

    async def begin(self) -> Batch:
        """Find the place, and what was missed up to now.

        Raises:
            InvalidRequest: the id is none of an event.
            TooManyClients: too many follow already.
        """
        if self._hub.client_count > CLIENT_LIMIT:
            raise TooManyClients(f"{CLIENT_LIMIT:,} clients follow already; try again, or ask another server")
        if self._asked_id:
            return await self._read(self._asked_id)
        self.last_id = self._hub.last_id or await run_sync(newest_id, self._client)
        return Batch([], self.last_id)

    async def _read(self, last_id: str) -> Batch:
        page = await run_sync(read_since, self._client, last_id)
        events = [told(event) for event in page.events]
        lost_place = page.is_gap and not events
        self.last_id = await run_sync(newest_id, self._client) if lost_place else page.last_id
        return Batch([event for event in events if self.wanted.matches(event)], self.last_id, page.is_gap)

    async def batches(self) -> AsyncGenerator[Batch]:
        """What happens, for ever, or until the hub stops. A batch with nothing in it is a heartbeat."""
        woken, loop = asyncio.Event(), asyncio.get_running_loop()
        rest = self._hub.wake_me(lambda: loop.call_soon_threadsafe(woken.set))
        try:
            yield await self.begin()
            beat_at = loop.time() + self._heartbeat_seconds
            while not self._hub.is_stopped:
                woken.clear()
                before = self.last_id
                batch = await self._next()
                # Heartbeats come also while there is much that this client does not want.
                if batch.events or batch.is_gap or loop.time() >= beat_at:
                    yield batch
                    beat_at = loop.time() + self._heartbeat_seconds
                elif self.last_id == before:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(woken.wait(), max(0.0, beat_at - loop.time()))
        finally:
            rest()

    async def _next(self) -> Batch:
        events = self._hub.after(place_of(self.last_id))
        if events is None:
            try:
                return await self._read(self.last_id)
            except OUTAGE_ERRORS:
                await asyncio.sleep(_RETRY_SECONDS)
                return Batch([], self.last_id)
        if events:
            self.last_id = events[-1].id
        return Batch([event for event in events if self.wanted.matches(event)], self.last_id)
