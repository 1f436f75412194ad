"""The relay: tells the audit trail live, as events on one stream and one channel.

It reads the queues' audit streams from cursors of its own. The events and the cursor they take it to are
written in one step that also compares the cursor, so each entry is told once, whoever dies or is overtaken.
The audit writer, whose entries leave the streams, stays behind the relay while that works (`told_up_to`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import structlog

from teknav_ops.events.window import Entry, QueueWindows
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import EVENTS_CURSORS, QueueKeys
from teknav_ops.redis_state.scripts import Call, Relayed, ScriptRunner
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.events")

#: How long a step may wait for something to happen.
BLOCK_SECONDS: Final = 1.0
#: Entries of one queue per read: bounds memory, and how long the server is busy with one read.
BATCH_LIMIT: Final = 500
#: While entries come thick, so long is waited for more of them; a lone one is told at once.
_GATHER_SECONDS: Final = 0.01
#: A Cluster cannot block on streams of several slots; they are looked at so often.
_POLL_SECONDS: Final = 0.2
#: For so long the audit writer waits for a relay that tells nothing: streams must not grow without end.
PATIENCE_SECONDS: Final = 10.0
#: The cursor moves at the latest after so many entries of which nobody is told.
_SILENT_LIMIT: Final = 5_000
_EMPTY: Final = "0-0"


class _Tail:
    """Where the relay stands in one queue's audit stream."""

    def __init__(self, queue: str, *, per_second: float) -> None:
        self.queue = queue
        self.key = QueueKeys(queue).audit
        self.windows = QueueWindows(queue, per_second=per_second)
        #: The cursor on record: everything up to it has been told. '' before the first.
        self.told = ""
        #: How far has been read. What lies between the two is in the windows.
        self.read = ""
        self._silent_count = 0

    def begin(self, cursor: str) -> None:
        """Go on from the cursor on record."""
        self.told = self.read = cursor
        self.windows.clear()
        self._silent_count = 0

    def take_in(self, entries: Sequence[Entry]) -> None:
        """Sort read entries into windows."""
        for entry in entries:
            self.windows.add(entry)
        if entries:
            self.read = entries[-1][0]
            self._silent_count += len(entries)

    @property
    def done(self) -> str:
        """Up to where there is nothing left to tell."""
        # In this order: another thread asks.
        read = self.read
        return self.told if self.windows.are_open else read

    def is_due(self, now: float) -> bool:
        """Whether what was read is to be written now."""
        wait_seconds = self.windows.wait_seconds(now)
        return self._silent_count >= _SILENT_LIMIT if wait_seconds is None else wait_seconds == 0

    def settle(self, answer: Relayed, to_id: str) -> None:
        """Take note of what became of a write."""
        if answer.is_told:
            self.told = to_id
            self.windows.clear()
            self._silent_count = 0
        elif answer.cursor:
            # Another relay, or this one before its answer was lost, has told what is in the windows.
            self.begin(answer.cursor)
        else:
            # Redis lost its cursors: ours is the best there is.
            self.told = ""


class EventRelay:
    """`step` reads what is new, waiting a moment for it, and tells what the pace allows."""

    def __init__(self, client: Client, topology: Topology, *, events_per_second: float, events_kept: int) -> None:
        self._client = client
        self._runner = ScriptRunner(client)
        self._kept = events_kept
        self._tails = {name: _Tail(name, per_second=events_per_second) for name in topology}
        self._by_key = {tail.key: tail for tail in self._tails.values()}
        self._read: Callable[[float], int] = self._poll if is_cluster(client) else self._block
        self._has_begun = False
        self._pause_seconds = 0.0
        self._well_at = self._asked_at = -math.inf

    def step(self) -> bool:
        """The scheduler's duty: at most about a second. Answers True, there is always more to do."""
        if not self._has_begun:
            self._begin()
        time.sleep(self._pause_seconds)
        read_count = self._read(self._patience_seconds())
        # A lone entry is told at once; a full batch means that there is more already.
        self._pause_seconds = _GATHER_SECONDS if 0 < read_count < BATCH_LIMIT else 0.0
        self._tell()
        self._well_at = time.monotonic()
        return True

    def told_up_to(self, queue: str) -> str | None:
        """The last entry of a queue of which there is nothing left to tell: what comes after it must stay for now.

        None, for no limit, when the relay has not made a step for long. May be asked from another thread.
        """
        now = time.monotonic()
        if now - self._asked_at > PATIENCE_SECONDS:
            # Whoever asks has begun a moment ago, and so has the relay: both are the leader's.
            self._well_at = now
        self._asked_at = now
        return None if now - self._well_at > PATIENCE_SECONDS else self._tails[queue].done or _EMPTY

    def catch_up(self, seconds: float) -> bool:
        """Tell all that there is, for at most so long; whether that was enough. For a leader that leaves."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self._has_begun:
                self._begin()
            read_count = self._read(0.0)
            self._tell()
            self._well_at = time.monotonic()
            if not read_count and self._patience_seconds() == BLOCK_SECONDS:
                return True
        return False

    def _begin(self) -> None:
        """Go on from the cursors on record; a queue without one begins with what happens from now on."""
        cursors = self._client.hgetall(EVENTS_CURSORS)
        for tail in self._tails.values():
            if cursor := cursors.get(tail.queue):
                tail.begin(cursor)
                continue
            newest = self._newest_id(tail)
            answer = self._runner.run(self._call(tail, newest, []))
            tail.begin(newest if answer.is_told else answer.cursor)
        self._has_begun = True

    def _newest_id(self, tail: _Tail) -> str:
        newest: list[Entry] = self._client.execute_command("XREVRANGE", tail.key, "+", "-", "COUNT", 1)
        return newest[0][0] if newest else _EMPTY

    def _patience_seconds(self) -> float:
        now = time.monotonic()
        waits = [tail.windows.wait_seconds(now) for tail in self._tails.values()]
        return min([BLOCK_SECONDS, *(seconds for seconds in waits if seconds is not None)])

    def _block(self, seconds: float) -> int:
        positions = [tail.read for tail in self._tails.values()]
        # 0 would block for ever.
        block_ms = max(1, round(seconds * 1000))
        answer = self._client.execute_command(
            "XREAD", "COUNT", BATCH_LIMIT, "BLOCK", block_ms, "STREAMS", *self._by_key, *positions
        )
        streams: Mapping[str, Any] = dict(answer or {})
        for key, entries in streams.items():
            self._by_key[key].take_in(entries)
        return max(map(len, streams.values()), default=0)

    def _poll(self, seconds: float) -> int:
        most = 0
        for tail in self._tails.values():
            entries = self._client.xrange(tail.key, f"({tail.read}", "+", count=BATCH_LIMIT)
            tail.take_in(entries)
            most = max(most, len(entries))
        if not most:
            time.sleep(min(seconds, _POLL_SECONDS))
        return most

    def _tell(self) -> None:
        now = time.monotonic()
        due = [(tail, tail.read) for tail in self._tails.values() if tail.is_due(now)]
        if not due:
            return
        calls = [self._call(tail, to_id, tail.windows.compose(now)) for tail, to_id in due]
        failed = None
        for (tail, to_id), answer in zip(due, self._runner.run_many(calls), strict=True):
            if isinstance(answer, Exception):
                failed = answer
            else:
                tail.settle(answer, to_id)
        if failed is not None:
            # What was not written stays in its windows, and is written again: the cursor says what was.
            raise failed

    def _call(self, tail: _Tail, to_id: str, events: list[str]) -> Call[Relayed]:
        return scripts.relay_events(tail.queue, from_id=tail.told, to_id=to_id, kept=self._kept, events=events)
