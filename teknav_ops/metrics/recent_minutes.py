"""The last minutes of some queues, read again and again: minutes that are over are read once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from teknav_ops.metrics.minutes import MINUTE_MS, MinuteCounts, read_many_minutes
from teknav_ops.redis_state.connection import Client

#: The current minute, and the one before: it may not have been over when it was read.
_UNSETTLED: Final = 2


class RecentMinutes:
    """Remembers what it read. One thread may use it."""

    def __init__(self, client: Client, *, minutes: int) -> None:
        """`minutes`: how many of the last are wanted, the current one included."""
        self._client = client
        self._minutes = minutes
        self._rows: dict[str, dict[int, MinuteCounts]] = {}
        #: queue -> the minute that was current when it was read.
        self._read_at: dict[str, int] = {}

    def read(self, at_ms: Mapping[str, int]) -> dict[str, list[MinuteCounts]]:
        """Of each queue, the last minutes as of its moment (ms since the epoch, the server's clock) in which something
        happened, in their order. Raises redis-py's errors.
        """
        windows = {queue: _window(moment, self._minutes) for queue, moment in at_ms.items()}
        wanted = {queue: self._unread(queue, window) for queue, window in windows.items()}
        for queue, rows in read_many_minutes(self._client, wanted).items():
            self._remember(queue, windows[queue], wanted[queue], rows)
        return {queue: list(self._rows[queue].values()) for queue in at_ms}

    def _unread(self, queue: str, window: range) -> range:
        read_at = self._read_at.get(queue)
        # Also after a clock was set back: what was read of minutes to come is not theirs.
        if read_at is None or read_at not in window:
            return window
        return range(max(window.start, read_at - _UNSETTLED + 1), window.stop)

    def _remember(self, queue: str, window: range, read: range, rows: Iterable[MinuteCounts]) -> None:
        known = self._rows.get(queue, {})
        kept = {minute: row for minute, row in known.items() if window.start <= minute < read.start}
        self._rows[queue] = kept | {row.minute: row for row in rows}
        self._read_at[queue] = window.stop - 1


def _window(at_ms: int, minutes: int) -> range:
    last = at_ms // MINUTE_MS
    return range(last - minutes + 1, last + 1)
