"""Single flight: many who ask the same at the same time cost as much as two."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Value = TypeVar("Value")


class _Flight:
    """One question, while somebody waits for its answer."""

    __slots__ = ("asking_count", "begun_at", "lock", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asking_count = 0
        self.begun_at = float("-inf")
        self.value: Any = None


class SingleFlight:
    """Lets one of those who ask the same do the reading. Thread-safe; keeps nothing for later.

    Nobody gets an answer that is older than their question: who asks while a reading is under way waits for the next,
    which serves all who came meanwhile. So whoever has just changed something finds it changed.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, read: Callable[[], Value]) -> Value:
        """What `read` answers to whoever asks under `key` first. An error is that one's own: the next reads anew."""
        asked_at = time.monotonic()
        with self._lock:
            flight = self._flights.setdefault(key, _Flight())
            flight.asking_count += 1
        try:
            with flight.lock:
                if flight.begun_at <= asked_at:
                    begun_at = time.monotonic()
                    flight.value = read()
                    flight.begun_at = begun_at
                value: Value = flight.value
                return value
        finally:
            with self._lock:
                flight.asking_count -= 1
                if flight.asking_count == 0:
                    del self._flights[key]
