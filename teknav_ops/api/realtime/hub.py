"""The hub: one reader of events per process, however many clients and pages listen.

It keeps the newest events in a ring. A client has a place in the ring, not a buffer of its own: one that is slow
falls behind until the ring has passed it, and is then read to from Redis, or told that something is missing. So
a thousand slow clients hold no more memory than one.
"""

from __future__ import annotations

import bisect
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import structlog

from teknav_ops.events.models import Event
from teknav_ops.events.subscribe import Gap, Subscription, newest_id
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client

log = structlog.get_logger("teknav.realtime")

RING_LIMIT: Final = 2_000
_RETRY_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 5.0

Place: TypeAlias = tuple[int, int]
Listener: TypeAlias = Callable[[Event | Gap], None]


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """An event as it is sent: made into JSON once, for all clients."""

    place: Place
    id: str
    type: str
    queues: frozenset[str]
    json_text: str


def place_of(event_id: str) -> Place:
    """An event's id as something that can be compared."""
    at_ms, _, number = event_id.partition("-")
    return int(at_ms), int(number)


def told(event: Event) -> Told:
    """An event as it is sent."""
    names = event.queues if event.queue is None else (event.queue,)
    return Told(place_of(event.id), event.id, event.type, frozenset(names), event.model_dump_json(by_alias=True))


class Hub:
    """Reads events in a thread of its own while it runs. Thread-safe, and knows no web framework."""

    def __init__(self, client: Client, *, heartbeat_seconds: float = 0.5, ring_limit: int = RING_LIMIT) -> None:
        self._client = client
        self._heartbeat_seconds = heartbeat_seconds
        self._ring: deque[Told] = deque(maxlen=ring_limit)
        #: Everything after this place is in the ring; None until the reader has begun.
        self._floor: Place | None = None
        self._last_id = ""
        self._lock = threading.Lock()
        self._listeners: dict[object, Listener] = {}
        self._wakers: dict[object, Callable[[], object]] = {}
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    # Its life --------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to read; again after `stop`, too."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._work, name="events-hub", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Read no more; clients are woken and find `is_stopped`."""
        self._stopped.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None

    @property
    def is_stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    @property
    def last_id(self) -> str:
        """The id of the newest event read; '' until Redis has answered for the first time."""
        return self._last_id

    # Who listens -----------------------------------------------------------------------------------

    def listen(self, callback: Listener) -> Callable[[], None]:
        """Call `callback` for each event, in the reader's thread: it must be quick. Answers how to end that.

        A `Gap` says that events were dropped before they were read: load the state anew.
        """
        return self._add(self._listeners, callback)

    def wake_me(self, waker: Callable[[], object]) -> Callable[[], None]:
        """Call `waker`, in the reader's thread, when there are new events. Answers how to end that."""
        return self._add(self._wakers, waker)

    def _add(self, where: dict[object, Any], what: Any) -> Callable[[], None]:
        key = object()
        with self._lock:
            where[key] = what

        def remove() -> None:
            with self._lock:
                where.pop(key, None)

        return remove

    @property
    def client_count(self) -> int:
        """How many clients wait to be woken."""
        return len(self._wakers)

    def after(self, place: Place) -> list[Told] | None:
        """The events after a place; None when some of them are not in the ring any more."""
        with self._lock:
            if self._floor is None or place < self._floor:
                return None
            start = bisect.bisect_right(self._ring, place, key=lambda entry: entry.place)
            return [self._ring[index] for index in range(start, len(self._ring))]

    # The reader ------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stopped.is_set():
            try:
                last_id = self._last_id or newest_id(self._client)
                self._begin(last_id)
                self._read(last_id)
            except OUTAGE_ERRORS as error:
                log.warning("hub.waiting", error=str(error))
                self._stopped.wait(_RETRY_SECONDS)
            except Exception:
                log.exception("hub.failed")
                self._stopped.wait(_RETRY_SECONDS)

    def _begin(self, last_id: str) -> None:
        with self._lock:
            self._last_id = last_id
            if self._floor is None:
                self._floor = place_of(last_id)

    def _read(self, last_id: str) -> None:
        subscription = Subscription(self._client, last_id=last_id, heartbeat_seconds=self._heartbeat_seconds)
        for item in subscription:
            if self._stopped.is_set():
                return
            if isinstance(item, Gap):
                self._forget(subscription.last_id)
                self._tell(item)
            elif item is not None:
                self._keep(told(item))
                self._tell(item)
            else:
                self._last_id = subscription.last_id
            if item is not None:
                self._wake()

    def _keep(self, entry: Told) -> None:
        with self._lock:
            if len(self._ring) == self._ring.maxlen:
                self._floor = self._ring[0].place
            self._ring.append(entry)
            self._last_id = entry.id

    def _forget(self, last_id: str) -> None:
        with self._lock:
            self._ring.clear()
            # Nobody's place is in this ring any more: they ask Redis, which tells them of the gap.
            self._floor = (place_of(last_id)[0], place_of(last_id)[1] + 1)

    def _tell(self, item: Event | Gap) -> None:
        for callback in list(self._listeners.values()):
            begun = time.monotonic()
            try:
                callback(item)
            except Exception:
                log.exception("hub.listener_failed")
            if (took := time.monotonic() - begun) > 1:
                log.warning("hub.listener_slow", seconds=round(took, 2))

    def _wake(self) -> None:
        for waker in list(self._wakers.values()):
            try:
                waker()
            except Exception:
                log.exception("hub.waker_failed")
