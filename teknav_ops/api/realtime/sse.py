"""Server-sent events: `/api/realtime/queue-events`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Annotated, Final, cast

import structlog
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from teknav_ops.api.dependencies import MayRead, services_of
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.problems import answers
from teknav_ops.api.realtime.following import HEARTBEAT_SECONDS, SEND_SECONDS, Batch, Following, wanted_of

log = structlog.get_logger("teknav.realtime")


class _StreamRoute(ExactRoute):
    """A stream of events of some queues, of some types."""

    repeated = frozenset({"queue", "type"})


router = APIRouter(prefix="/api/realtime", tags=["realtime"], route_class=_StreamRoute)

_RETRY_MS: Final = 2_000
_EXAMPLE: Final = (
    "id: 1764000000000-0\nevent: job.failed\n"
    'data: {"v":1,"id":"1764000000000-0","type":"job.failed","queue":"ai:content","atMs":1764000000000,"count":1,'
    '"jobs":[{"jobId":"…","job":"translate","errorType":"AiUnavailable","fingerprint":"0f…"}]}\n\n'
)


class EventStream(StreamingResponse):
    """A stream that drops a client which takes nothing any more, instead of buffering for it."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:
        """Send each chunk in time, or end."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        async with contextlib.aclosing(cast(AsyncGenerator[str], self.body_iterator)):
            try:
                await super().stream_response(send_in_time)
            except TimeoutError:
                log.info("realtime.dropped", client="sse")


@router.get(
    "/queue-events",
    operation_id="follow_queue_events",
    summary="Follow what happens, as server-sent events",
    response_class=EventStream,
    responses={
        200: {"description": "A stream without end.", "content": {"text/event-stream": {"example": _EXAMPLE}}},
        **answers(404),
    },
)
async def follow_queue_events(
    request: Request,
    _: MayRead,
    queue: Annotated[list[str] | None, Query(description="Only these queues; repeat it for several.")] = None,
    type: Annotated[list[str] | None, Query(description="Only these types; repeat it for several.")] = None,
    last_event_id: Annotated[
        str | None, Header(description="Go on after this event. Browsers send it when they come back.")
    ] = None,
    last_id: Annotated[str | None, Query(description="The same, where a header cannot be set.")] = None,
) -> EventStream:
    """Each event has an id, its type as `event`, and JSON as `data`. Whoever comes back with the last id misses
    nothing: what was missed is sent first. When some of it is not kept any more, an event `gap` says so: load
    the state anew. A comment comes every 15 s. A client that takes nothing for 20 s is dropped.
    """
    services = services_of(request)
    following = Following(
        services.hub, services.client, wanted_of(services.topology, queue, type), last_id=last_event_id or last_id,
        heartbeat_seconds=HEARTBEAT_SECONDS,
    )  # fmt: skip
    batches = following.batches()
    first = await anext(batches)
    return EventStream(_chunks(first, batches), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _chunks(first: Batch, batches: AsyncGenerator[Batch]) -> AsyncGenerator[str]:
    async with contextlib.aclosing(batches):
        yield f"retry: {_RETRY_MS}\n\n{_encode(first)}"
        async for batch in batches:
            yield _encode(batch)


def _encode(batch: Batch) -> str:
    parts = []
    if batch.is_gap:
        parts.append('event: gap\ndata: {"type":"gap"}\n\n')
    parts += [f"id: {event.id}\nevent: {event.type}\ndata: {event.json_text}\n\n" for event in batch.events]
    # An id alone is no event: it moves the place from which a browser goes on, past what it did not want.
    parts.append(f": at {batch.last_id}\nid: {batch.last_id}\n\n")
    return "".join(parts)
