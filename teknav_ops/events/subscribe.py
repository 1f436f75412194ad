"""Reading events, for pages, notebooks and the command line: what was missed, then what happens.

Both come from the stream, so there is no seam between them, no duplicate, and nothing that a slow reader
misses without being told. The channel carries the same events for those who need no past.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Final

import structlog

from teknav_ops.errors import InvalidRequest
from teknav_ops.events.models import Event, from_json
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.redis_state.keys import EVENTS_STREAM

log = structlog.get_logger("teknav.events")

#: Before all events.
BEGINNING: Final = "0-0"
BATCH_LIMIT: Final = 500
_RETRY_SECONDS: Final = 0.25
_ID: Final = re.compile(r"\d{1,20}-\d{1,20}")


@dataclasses.dataclass(frozen=True, slots=True)
class Page:
    """Events after an id, oldest first.

    With `is_gap`, some events after that id may be kept no longer: whoever builds on them has to load its state anew.
    `last_id` is where to go on, also when there was nothing to read.
    """

    events: list[Event]
    last_id: str
    is_gap: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """Some events were not read before they were dropped: load the state anew."""

    after_id: str


def newest_id(client: Client) -> str:
    """The id of the newest event; BEGINNING where there is none. Take it before loading state, and read on from it."""
    newest = client.execute_command("XREVRANGE", EVENTS_STREAM, "+", "-", "COUNT", 1)
    return str(newest[0][0]) if newest else BEGINNING


def read_newest(client: Client, limit: int) -> Page:
    """The newest events, oldest first; go on from `last_id`."""
    entries = client.execute_command("XREVRANGE", EVENTS_STREAM, "+", "-", "COUNT", limit)
    return _page(entries[::-1], BEGINNING, is_gap=False)


def read_since(client: Client, last_id: str = BEGINNING, limit: int = BATCH_LIMIT) -> Page:
    """At most `limit` events after `last_id`, the id of an event that was read before.

    Raises:
        InvalidRequest: `last_id` is no id of an event, or `limit` is not positive.
    """
    if not _ID.fullmatch(last_id):
        raise InvalidRequest(f"last_id: {last_id!r} is not the id of an event, such as 1764000000000-0")
    if limit < 1:
        raise InvalidRequest(f"limit: {limit} is not at least 1")
    # The event itself must still be there: if it is, so are all after it.
    entries = client.xrange(EVENTS_STREAM, last_id, "+", count=limit + 1)
    is_gap = last_id != BEGINNING
    if entries and entries[0][0] == last_id:
        entries, is_gap = entries[1:], False
    return _page(entries[:limit], last_id, is_gap)


def _page(entries: Sequence[tuple[str, Mapping[str, str]]], last_id: str, is_gap: bool) -> Page:
    found = (from_json(fields.get("event"), event_id=entry_id) for entry_id, fields in entries)
    events = [event for event in found if event is not None]
    return Page(events, entries[-1][0] if entries else last_id, is_gap)


class Subscription:
    """Iterates over events for ever: those after `last_id`, then each as it happens.

    for event in Subscription(client, last_id=newest_id(client)):
        ...

    Now and then, and when nothing happens for `heartbeat_seconds`, it gives None, so that a caller can look
    whether it should stop. A `Gap` says that events were dropped before they were read. An outage of Redis is
    waited out. `heartbeat_seconds` must be shorter than the client's timeout.
    """

    def __init__(
        self,
        client: Client,
        *,
        last_id: str = BEGINNING,
        queues: Container[str] | None = None,
        types: Container[str] | None = None,
        heartbeat_seconds: float = 1.0,
    ) -> None:
        self._client = client
        self._queues = queues
        self._types = types
        self._heartbeat_ms = max(1, round(heartbeat_seconds * 1000))
        #: Up to where was read: to go on from in another process.
        self.last_id = last_id

    def __iter__(self) -> Iterator[Event | Gap | None]:
        while True:
            try:
                page = self._next_page()
            except OUTAGE_ERRORS as error:
                log.warning("events.waiting", error=str(error))
                time.sleep(_RETRY_SECONDS)
                yield None
                continue
            if page.is_gap:
                yield Gap(self.last_id)
            for event in page.events:
                self.last_id = event.id
                if self._is_wanted(event):
                    yield event
            self.last_id = page.last_id
            if not page.events:
                yield None

    def _next_page(self) -> Page:
        page = read_since(self._client, self.last_id)
        if page.is_gap and not page.events:
            # The stream was lost, or is younger than this id: go on from where it stands.
            return Page([], newest_id(self._client), True)
        if page.events or page.last_id != self.last_id:
            return page
        command = ("XREAD", "COUNT", BATCH_LIMIT, "BLOCK", self._heartbeat_ms, "STREAMS", EVENTS_STREAM, self.last_id)
        for entries in dict(self._client.execute_command(*command) or {}).values():
            return _page(entries, self.last_id, False)
        return page

    def _is_wanted(self, event: Event) -> bool:
        if self._types is not None and event.type not in self._types:
            return False
        return self._queues is None or event.queue is None or event.queue in self._queues
