"""Minutes that are over are read once; those that are not, again."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from teknav_ops.metrics.minutes import MINUTE_MS
from teknav_ops.metrics.recent_minutes import RecentMinutes
from tests.support.state import KEYS, QUEUE


def write(client: redis.Redis, minute: int, completed: int) -> None:
    client.hset(KEYS.minute(minute), "work|completed", completed)


def read(recent: RecentMinutes, minute: int) -> dict[int, int]:
    return {row.minute: row.completed for row in recent.read({QUEUE: minute * MINUTE_MS + 30_000})[QUEUE]}


@pytest.fixture
def recent(client: Any) -> RecentMinutes:
    return RecentMinutes(client, minutes=5)


def test_the_window_moves_with_time(client: redis.Redis, recent: RecentMinutes) -> None:
    for minute in range(90, 110):
        write(client, minute, minute)

    assert read(recent, 100) == {minute: minute for minute in range(96, 101)}
    assert read(recent, 102) == {minute: minute for minute in range(98, 103)}
    assert read(recent, 109) == {minute: minute for minute in range(105, 110)}


def test_what_may_not_have_been_over_is_read_again(client: redis.Redis, recent: RecentMinutes) -> None:
    for minute in (98, 99, 100):
        write(client, minute, 1)
    read(recent, 100)
    for minute in (98, 99, 100, 101):
        write(client, minute, 7)

    assert read(recent, 101) == {98: 1, 99: 7, 100: 7, 101: 7}


def test_a_minute_that_went_away_while_current_is_forgotten(client: redis.Redis, recent: RecentMinutes) -> None:
    write(client, 100, 1)
    read(recent, 100)
    client.flushall()

    assert read(recent, 100) == {}


@pytest.mark.parametrize("minute", [97, 50, 200])
def test_a_clock_that_was_set_makes_it_read_all_again(client: redis.Redis, recent: RecentMinutes, minute: int) -> None:
    for past in range(minute - 5, minute + 1):
        write(client, past, 1)
    write(client, 100, 1)
    read(recent, 100)
    for past in range(minute - 5, minute + 1):
        write(client, past, 2)

    assert read(recent, minute) == dict.fromkeys(range(minute - 4, minute + 1), 2)


def test_few_keys_are_asked_for(client: redis.Redis, recent: RecentMinutes) -> None:
    read(recent, 100)
    client.config_resetstat()

    read(recent, 100)
    read(recent, 101)

    assert client.info("commandstats")["cmdstat_hgetall"]["calls"] == 2 + 3
