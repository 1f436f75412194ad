"""The socket: `/ws/queue-events`, with subscriptions that change while it is open."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Final, Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from teknav_ops.api.dependencies import services_of
from teknav_ops.api.realtime.following import (
    HEARTBEAT_SECONDS,
    SEND_SECONDS,
    Batch,
    Following,
    TooManyClients,
    Wanted,
    wanted_of,
)
from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain

log = structlog.get_logger("teknav.realtime")

router = APIRouter()

#: A client says little: more than this in one message is a mistake, or an attack.
_MESSAGE_LIMIT_CHARACTERS: Final = 10_000
_MISUSE: Final = 1008
_TOO_SLOW: Final = 1013
_NOTHING: Final = Wanted(frozenset(), frozenset())


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Subscribe(_Message):
    """Tell me of these queues (None: all) and types (None: all), besides what I asked for before."""

    type: Literal["subscribe"]
    queues: list[str] | None = Field(None, max_length=100)
    types: list[str] | None = Field(None, max_length=100)
    last_id: str | None = Field(None, max_length=50)


class Unsubscribe(_Message):
    """Tell me no more of these queues (None: any)."""

    type: Literal["unsubscribe"]
    queues: list[str] | None = Field(None, max_length=100)


class Ping(_Message):
    """Answer me."""

    type: Literal["ping"]


_READER: Final[TypeAdapter[Subscribe | Unsubscribe | Ping]] = TypeAdapter(
    Annotated[Subscribe | Unsubscribe | Ping, Field(discriminator="type")]
)


class EventSocket:
    """One client's socket: a task that reads what it asks for, and one that tells it."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._services = services_of(socket)
        self._wanted = _NOTHING
        self._teller: asyncio.Task[None] | None = None
        self._following: Following | None = None

    async def run(self) -> None:
        """Until the client, the session or the server ends it."""
        await self._socket.accept()
        try:
            while True:
                text = await self._socket.receive_text()
                await self._on_message(text)
        except (WebSocketDisconnect, KeyError):
            # A KeyError is starlette's answer to bytes where text was asked for.
            pass
        finally:
            await self._end_telling()

    async def _on_message(self, text: str) -> None:
        if len(text) > _MESSAGE_LIMIT_CHARACTERS:
            await self._socket.close(_MISUSE, "message too long")
            raise WebSocketDisconnect(_MISUSE)
        try:
            message = _READER.validate_python(plain.parse(text, "message"))
            if isinstance(message, Ping):
                await self._send({"type": "pong"})
            elif isinstance(message, Subscribe):
                await self._subscribe(message)
            else:
                await self._unsubscribe(message)
        except ValidationError as error:
            problem = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            await self._send({"type": "error", "detail": problem})
        except (InvalidRequest, TooManyClients) as error:
            await self._send({"type": "error", "detail": str(error)})

    async def _subscribe(self, message: Subscribe) -> None:
        more = wanted_of(self._services.topology, message.queues, message.types)
        self._wanted = Wanted(_union(self._wanted.queues, more.queues), _union(self._wanted.types, more.types))
        if self._following is not None and message.last_id is None:
            self._following.wanted = self._wanted
            await self._confirm(self._following.last_id)
            return
        await self._end_telling()
        following = Following(
            self._services.hub, self._services.client, self._wanted, last_id=message.last_id,
            heartbeat_seconds=HEARTBEAT_SECONDS,
        )  # fmt: skip
        batches = following.batches()
        first = await anext(batches)
        self._following = following
        await self._confirm(following.last_id)
        self._teller = asyncio.create_task(self._tell(first, batches))

    async def _unsubscribe(self, message: Unsubscribe) -> None:
        gone = frozenset(self._services.topology) if message.queues is None else frozenset(message.queues)
        now = frozenset(self._services.topology) if self._wanted.queues is None else self._wanted.queues
        self._wanted = Wanted(now - gone, self._wanted.types)
        if self._following is not None:
            self._following.wanted = self._wanted
        await self._confirm(self._following.last_id if self._following else "")

    async def _confirm(self, last_id: str) -> None:
        await self._send(
            {
                "type": "subscribed",
                "queues": None if self._wanted.queues is None else sorted(self._wanted.queues),
                "types": None if self._wanted.types is None else sorted(self._wanted.types),
                "lastId": last_id,
            }
        )

    async def _tell(self, first: Batch, batches: AsyncGenerator[Batch]) -> None:
        try:
            async with contextlib.aclosing(batches):
                if first.events or first.is_gap:
                    await self._send_batch(first)
                async for batch in batches:
                    await self._send_batch(batch)
            await self._socket.close(1012, "the server stops")
        except TimeoutError:
            log.info("realtime.dropped", client="websocket")
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._socket.close(_TOO_SLOW, "too slow"), 1)
        except (WebSocketDisconnect, RuntimeError):
            # Gone while we were speaking.
            pass

    async def _send_batch(self, batch: Batch) -> None:
        if batch.is_gap:
            await self._send({"type": "gap", "lastId": batch.last_id})
        for event in batch.events:
            await self._send_text(event.json_text)
        if not batch.events and not batch.is_gap:
            await self._send({"type": "heartbeat", "lastId": batch.last_id})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(json.dumps(message))

    async def _send_text(self, text: str) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(text)

    async def _end_telling(self) -> None:
        if self._teller is not None:
            self._teller.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._teller
            self._teller = None


def _union(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    return None if one is None or other is None else one | other


@router.websocket("/ws/queue-events")
async def queue_events(socket: WebSocket) -> None:
    """See docs/api.md for the messages."""
    await EventSocket(socket).run()
