"""Pace: how often something may be said."""

from __future__ import annotations


class Pace:
    """So many at once, and as many per second from then on."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._capacity = max(1.0, per_second)
        self._left = self._capacity
        self._looked_at: float | None = None

    def left(self, now_seconds: float) -> float:
        """How many may be said at this moment of a monotonic clock."""
        if self._looked_at is not None:
            gained = (now_seconds - self._looked_at) * self._per_second
            self._left = min(self._capacity, self._left + max(0.0, gained))
        self._looked_at = now_seconds
        return self._left

    def take(self, count: int) -> None:
        """Count what was said; what was said too much is waited for, but not for ever."""
        self._left = max(self._left - count, -self._capacity)

    def wait_seconds(self, now_seconds: float) -> float:
        """How long until the next may be said; 0 at once."""
        return max(0.0, (1.0 - self.left(now_seconds)) / self._per_second)
