"""Single flight: many who ask the same at the same time cost as much as two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

Value = TypeVar("Value")


class _Flight:
    """One question, while somebody waits for its answer."""

    __slots__ = ("asking_count", "begun_at", "lock", "outcome")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asking_count = 0
        self.begun_at = float("-inf")
        self.outcome: Future[Any] = Future()


class SingleFlight:
    """Lets one of those who ask the same do the reading. Thread-safe; keeps nothing for later.

    Nobody gets an answer that is older than their question: who asks while a reading is under way waits for the next,
    which serves all who came meanwhile. So whoever has just changed something finds it changed.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """What `read` answers, or raises, to whoever asks under `key` first.

        An error is shared, too: in an outage nobody waits for the timeouts of all who came before.
        """
        asked_at = time.monotonic()
        with self._lock:
            flight = self._flights.setdefault(key, _Flight())
            flight.asking_count += 1
        try:
            with flight.lock:
                if flight.begun_at <= asked_at:
                    flight.begun_at, flight.outcome = time.monotonic(), _settled(read)
                outcome: Future[Value] = flight.outcome
            return outcome.result()
        finally:
            with self._lock:
                flight.asking_count -= 1
                if flight.asking_count == 0:
                    del self._flights[key]


def _settled(read: Callable[[], Value]) -> Future[Value]:
    outcome: Future[Value] = Future()
    try:
        outcome.set_result(read())
    except Exception as error:
        outcome.set_exception(error)
    return outcome
