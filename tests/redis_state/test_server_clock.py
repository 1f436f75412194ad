"""The server's clock, as somebody sees it who looks from time to time."""

from __future__ import annotations

import json
import time

import pytest
import redis

from teknav_ops.redis_state import keys, server_clock
from teknav_ops.redis_state.server_clock import (
    LEAST_JUMP_MS,
    ClockFacts,
    ClockReader,
    ServerClock,
    read_clock,
    steady_seconds,
)


@pytest.mark.parametrize(
    ("looks", "jump_ms"),
    [
        ([(5_000, 1.0, 1.0)], 0.0),
        ([(5_000, 1.0, 1.0), (6_000, 2.0, 2.0)], 0.0),
        ([(5_000, 1.0, 1.0), (6_000 + LEAST_JUMP_MS, 2.0, 2.0)], 0.0),
        ([(5_000, 1.0, 1.0), (6_001 + LEAST_JUMP_MS, 2.0, 2.0)], LEAST_JUMP_MS + 1.0),
        ([(5_000_000, 1.0, 1.0), (1_000_000, 2.0, 2.0)], -4_001_000.0),
        # Each look of 4 s leaves 2 s open: what lies within both and the least jump is none.
        ([(5_000, 0.0, 4.0), (7_000 + 4_000 + LEAST_JUMP_MS, 2.0, 6.0)], 0.0),
        ([(5_000, 0.0, 4.0), (7_001 + 4_000 + LEAST_JUMP_MS, 2.0, 6.0)], 5_001.0),
        # A jump is told once; the next look is held against the new time.
        ([(5_000, 1.0, 1.0), (65_000, 2.0, 2.0), (66_000, 3.0, 3.0)], 0.0),
    ],
)
def test_a_clock_was_set_by_what_two_looks_cannot_explain(
    looks: list[tuple[float, float, float]], jump_ms: float
) -> None:
    clock = ServerClock()

    assert [clock.jump_ms(*look) for look in looks][-1] == jump_ms


def test_the_largest_jump_of_all_queues_is_kept_for_a_day(client: redis.Redis) -> None:
    reader, now = ClockReader(client), steady_seconds()  # type: ignore[arg-type]
    here_ms = int(time.time() * 1000)
    assert reader.look({}, now, now) is None

    first = reader.look({"a": here_ms, "b": here_ms}, now, now)
    assert first is not None and (first.jump_ms, first.jumped_at_ms) == (0.0, 0)
    assert client.get(keys.CLOCK_JUMP) is None
    found = reader.look({"a": here_ms + 5_000, "b": here_ms - 90_000, "c": here_ms}, now, now)

    assert found is not None and (found.jump_ms, found.jumped_at_ms) == (-90_000.0, here_ms - 90_000)
    assert abs(found.difference_ms + 90_000) < 45_000
    assert json.loads(client.get(keys.CLOCK_JUMP) or "") == {"jump_ms": -90_000.0, "at_ms": here_ms - 90_000}
    assert 0 < client.pttl(keys.CLOCK_JUMP) <= 86_400_000
    assert read_clock(client).jump_ms == -90_000.0  # type: ignore[arg-type]


@pytest.mark.parametrize("ahead_seconds", [100, -100])
def test_one_look_tells_how_far_the_server_is_ahead(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, ahead_seconds: int
) -> None:
    here = time.time
    monkeypatch.setattr(server_clock.time, "time", lambda: here() - ahead_seconds)

    assert abs(read_clock(client).difference_ms - ahead_seconds * 1000) < 50_000  # type: ignore[arg-type]


def test_what_a_looks_length_leaves_open_is_no_difference(client: redis.Redis) -> None:
    now, here_ms = steady_seconds(), time.time() * 1000

    def look(ahead_ms: int) -> ClockFacts:
        """A look of 100 seconds, in the middle of which the server was so far ahead."""
        facts = ClockReader(client).look({"a": int(here_ms - 50_000) + ahead_ms}, now - 100.0, now)  # type: ignore[arg-type]
        assert facts is not None
        return facts

    assert look(20_000).difference_ms == look(-20_000).difference_ms == 0
    assert 20_000 < look(100_000).difference_ms < 80_000
    assert -80_000 < look(-100_000).difference_ms < -20_000
