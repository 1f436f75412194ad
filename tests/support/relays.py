"""Relays in threads and processes, and what they have told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from teknav_ops.events.models import Event, from_json
from teknav_ops.events.relay import EventRelay
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, connect
from teknav_ops.redis_state.keys import EVENTS_CURSORS, EVENTS_STREAM
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until


@contextmanager
def stepping(relay: EventRelay) -> Iterator[None]:
    """The relay's steps in a thread, as the scheduler makes them."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            try:
                relay.step()
            except OUTAGE_ERRORS:
                stopped.wait(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(45)
        assert not thread.is_alive()


def relay_for_ever(url: str) -> None:
    """The target of a process that a test kills."""
    relay = EventRelay(connect(url), TOPOLOGY, events_per_second=20, events_kept=10_000)
    while True:
        relay.step()


def told(client: Any) -> list[Event]:
    """All events in the stream."""
    found = [from_json(fields["event"], event_id=event_id) for event_id, fields in client.xrange(EVENTS_STREAM)]
    assert None not in found
    return found  # type: ignore[return-value]


def told_count(client: Any, kind: str) -> int:
    """How many things of one kind all events together tell of."""
    return sum(event.count for event in told(client) if event.type == kind)  # type: ignore[union-attr]


def await_beginning(client: Any) -> None:
    """Until a relay has taken its place at the end of every stream."""
    until(lambda: client.hlen(EVENTS_CURSORS) == len(TOPOLOGY), what="the relay to begin")
