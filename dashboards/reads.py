"""Reads that open pages share: twenty people who look at the queues cost as much as one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

Value = TypeVar("Value")

#: A value older than this is read again though nothing was heard: counts change without an event, too.
_LONGEST_SECONDS: Final = 1.0
_ENTRY_LIMIT: Final = 2_000


class _Entry:
    """One value, and the lock under which it is read."""

    __slots__ = ("lock", "read_at", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.read_at = float("-inf")
        self.value: Any = None


class SharedReads:
    """Keeps what was read until something happens to its queue, or `seconds` have passed."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()
        self._changed_at: dict[str | None, float] = {}

    def changed(self, queue: str | None) -> None:
        """Something happened: what was read of this queue before now is old."""
        now = time.monotonic()
        if queue is not None:
            self._changed_at[queue] = now
        self._changed_at[None] = now

    def get(
        self, key: Hashable, read: Callable[[], Value], *, queue: str | None = None, seconds: float = _LONGEST_SECONDS,
        outlives_events: bool = False,
    ) -> Value:  # fmt: skip
        """The value under `key`, read at most once for all who ask at the same time.

        `queue` names the one it depends on (None: all of them). What is costly and needs no
        freshness `outlives_events`: it is read again only when `seconds` have passed.
        """
        with self._lock:
            if len(self._entries) >= _ENTRY_LIMIT and key not in self._entries:
                self._entries.clear()
            entry = self._entries.setdefault(key, _Entry())
        with entry.lock:
            begun = time.monotonic()
            is_old = begun - entry.read_at > seconds
            is_overtaken = not outlives_events and entry.read_at <= self._changed_at.get(queue, float("-inf"))
            if is_old or is_overtaken:
                entry.value = read()
                # As of the beginning: what happened during the read may or may not be in it.
                entry.read_at = begun
            value: Value = entry.value
            return value
