"""The server's clock, held against one that nobody sets.

Leases, delays, windows and due times are moments on the server's clock (its host's). Who sets it moves all of them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Mapping
from typing import Final

from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client

#: A smaller jump moves nothing that anybody would notice.
LEAST_JUMP_MS: Final = 1_000
_KEPT_MS: Final = 86_400_000
#: On Linux it goes on while the machine sleeps, as the server's does.
_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_seconds() -> float:
    """Seconds on a clock that is never set."""
    return time.clock_gettime(_STEADY)


@dataclasses.dataclass(frozen=True, slots=True)
class ClockFacts:
    """How far the server's clock is ahead of this machine's, as far as is certain, and its last jump of the last day;
    negative is back."""

    difference_ms: float
    jump_ms: float = 0.0
    jumped_at_ms: int = 0


class ServerClock:
    """One server's clock, as somebody sees it who looks from time to time."""

    def __init__(self) -> None:
        self._offset_ms: float | None = None
        self._doubt_ms = 0.0

    def jump_ms(self, at_ms: float, asked: float, answered: float) -> float:
        """By how much it was set since the last look; 0 where the look was too slow to tell. Times are steady ones."""
        offset_ms, doubt_ms = at_ms - (asked + answered) * 500, (answered - asked) * 500
        before, doubts_ms = self._offset_ms, self._doubt_ms + doubt_ms
        self._offset_ms, self._doubt_ms = offset_ms, doubt_ms
        moved_ms = 0.0 if before is None else offset_ms - before
        return moved_ms if abs(moved_ms) > doubts_ms + LEAST_JUMP_MS else 0.0


class ClockReader:
    """Looks again and again; a jump is written down, so that who looks only once knows of it."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._clocks: dict[str, ServerClock] = {}

    def look(self, moments_ms: Mapping[str, int], asked: float, answered: float) -> ClockFacts | None:
        """What the servers of these queues say, asked and answered at these steady seconds; None without queues."""
        if not moments_ms:
            return None
        jumps = {
            queue: self._clocks.setdefault(queue, ServerClock()).jump_ms(at_ms, asked, answered)
            for queue, at_ms in moments_ms.items()
        }
        queue = max(jumps, key=lambda name: abs(jumps[name]))
        if jumps[queue]:
            words = json.dumps({"jump_ms": jumps[queue], "at_ms": moments_ms[queue]})
            self._client.set(keys.CLOCK_JUMP, words, px=_KEPT_MS)
        ours_ms = time.time() * 1000 - (steady_seconds() - (asked + answered) / 2) * 1000
        doubt_ms = (answered - asked) * 500
        differences = [_certain(at_ms - ours_ms, doubt_ms) for at_ms in moments_ms.values()]
        return _with_last_jump(self._client, max(differences, key=abs))


def read_clock(client: Client) -> ClockFacts:
    """One look at a server's clock."""
    before = time.time()
    seconds, micros = client.execute_command("TIME")
    after = time.time()
    difference_ms = float(seconds) * 1000 + float(micros) / 1000 - (before + after) * 500
    return _with_last_jump(client, _certain(difference_ms, (after - before) * 500))


def _certain(difference_ms: float, doubt_ms: float) -> float:
    """What is left of a difference when the answer may be so much older or newer than was supposed."""
    return math.copysign(max(0.0, abs(difference_ms) - abs(doubt_ms)), difference_ms)


def _with_last_jump(client: Client, difference_ms: float) -> ClockFacts:
    found = json.loads(client.get(keys.CLOCK_JUMP) or "{}")
    return ClockFacts(difference_ms, float(found.get("jump_ms", 0)), int(found.get("at_ms", 0)))
