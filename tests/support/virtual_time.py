"""A clock that tests move: the product's own scripts, loaded with the server's time replaced.

Leases, delays, windows and what expires then take no waiting:

    def test_a_lease_runs_out(state, clock):
        state.enqueue()
        state.fetch(lease_ms=30_000)
        clock.advance(31)

It holds for scripts that this process sends. What Python itself measures, and other processes, go on as ever.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Final

import pytest
import redis

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Script

CLOCK_KEY: Final = "test:clock"
ENDS_KEY: Final = "test:clock:ends"
#: 1 March 2026, 12:00 UTC.
START_SECONDS: Final = 1_772_366_400.0

_FOLDER: Final = Path(__file__).parent / "lua"
# On one line, so that line numbers in a script's errors stay what they are.
_SHIM: Final = " ".join(
    line.strip()
    for line in (_FOLDER / "virtual_time.lua").read_text().splitlines()
    if not line.strip().startswith("--")
)
_EXPIRE: Final = (_FOLDER / "virtual_time_expire.lua").read_text()


def on_virtual_time(script: Script) -> Script:
    """The same script, which reads the test's clock."""
    flags, newline, body = script.source.partition("\n") if script.source.startswith("#!") else ("", "", script.source)
    source = f"{flags}{newline}{_SHIM} {body}"
    return Script(script.name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


class Clock:
    """The time that scripts see on one server. It stands still until it is moved."""

    def __init__(self, client: redis.Redis, *, seconds: float = START_SECONDS) -> None:
        self._client = client
        self.set(seconds)

    @property
    def now_ms(self) -> int:
        """What a script would see as now, in ms."""
        return self._now_us // 1000

    def set(self, seconds: float) -> None:
        """Jump to a moment (seconds since the epoch), also backwards."""
        self._now_us = round(seconds * 1_000_000)
        whole, microseconds = divmod(self._now_us, 1_000_000)
        self._client.hset(CLOCK_KEY, mapping={"seconds": whole, "microseconds": microseconds})
        self._client.eval(_EXPIRE, 1, ENDS_KEY, self.now_ms)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.set(self._now_us / 1_000_000 + seconds)

    def ends_in_ms(self, key: str) -> int | None:
        """In how many ms a key expires; None when it does not."""
        ends_at = self._client.zscore(ENDS_KEY, key)
        return None if ends_at is None else round(ends_at) - self.now_ms


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process load scripts that read the test's clock."""
    load = scripts.load

    @functools.cache
    def load_virtual(name: str) -> Script:
        return on_virtual_time(load(name))

    monkeypatch.setattr(scripts, "load", load_virtual)
