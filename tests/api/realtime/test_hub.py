"""The hub: one reader for all, a ring instead of buffers, and no listener that harms another."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import redis

from teknav_ops.api.realtime.hub import Hub, place_of
from teknav_ops.events.subscribe import Gap
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import EVENTS_STREAM
from tests.api.realtime.conftest import Tell
from tests.support.redis_server import RedisServer
from tests.support.waiting import until


@pytest.fixture
def hub(redis_server: RedisServer) -> Iterator[Hub]:
    client = connect(redis_server.url, timeout_seconds=2)
    running = Hub(client, heartbeat_seconds=0.1, ring_limit=5)
    running.start()
    until(lambda: running.last_id)
    yield running
    running.stop()
    client.close()


def test_every_listener_hears_every_event_and_one_that_breaks_harms_nobody(hub: Hub, tell: Tell) -> None:
    heard: list[str] = []

    def broken(_: object) -> None:
        raise ValueError("a page is broken")

    hub.listen(broken)
    rest = hub.listen(lambda event: heard.append(event.id))  # type: ignore[union-attr]
    ids = [tell() for _ in range(3)]
    until(lambda: heard == ids, what="three events")
    rest()
    tell()
    until(lambda: hub.last_id > ids[-1])

    assert heard == ids


def test_a_place_that_the_ring_has_passed_is_not_answered_from_it(hub: Hub, tell: Tell) -> None:
    start = place_of(hub.last_id)
    ids = [tell() for _ in range(5)]
    until(lambda: hub.last_id == ids[-1])
    assert [event.id for event in hub.after(start) or []] == ids

    ids += [tell() for _ in range(2)]
    until(lambda: hub.last_id == ids[-1])

    assert hub.after(start) is None
    assert [event.id for event in hub.after(place_of(ids[1])) or []] == ids[2:]
    assert hub.after(place_of(ids[-1])) == []


def test_a_lost_stream_is_a_gap_and_what_comes_after_is_heard(hub: Hub, tell: Tell, client: redis.Redis) -> None:
    heard: list[object] = []
    hub.listen(heard.append)
    first = tell()
    until(lambda: len(heard) == 1)
    client.delete(EVENTS_STREAM)
    until(lambda: len(heard) == 2, what="the gap")

    second = tell()
    until(lambda: len(heard) == 3, what="the event after the gap")

    assert isinstance(heard[1], Gap) and heard[2].id == second  # type: ignore[attr-defined]
    assert hub.after(place_of(first)) is None


def test_an_outage_is_waited_out(own_server: RedisServer) -> None:
    client = connect(own_server.url, timeout_seconds=0.5)
    hub = Hub(client, heartbeat_seconds=0.1)
    heard: list[str] = []
    hub.listen(lambda event: heard.append(getattr(event, "type", "gap")))
    hub.start()
    until(lambda: hub.last_id)
    own_server.kill()
    own_server.start()

    with own_server.client() as other:
        until(lambda: other.ping())
        event = '{"v": 1, "type": "stats.updated", "atMs": 1, "queues": ["test:work"]}'
        other.xadd(EVENTS_STREAM, {"event": event})
    until(lambda: "stats.updated" in heard, what="the event after the outage")

    hub.stop()
    client.close()


def reading_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "events-hub"}


def test_it_ends_when_told_and_begins_again(hub: Hub, tell: Tell) -> None:
    woken, before = threading.Event(), reading_threads()
    hub.wake_me(woken.set)

    hub.stop()

    assert woken.is_set() and hub.is_stopped
    # Apps that other tests share may read on.
    assert len(before - reading_threads()) == 1
    hub.start()
    event_id = tell()
    until(lambda: hub.last_id == event_id)


def test_a_thousand_clients_that_read_nothing_hold_no_more_than_the_ring(hub: Hub, tell: Tell) -> None:
    for _ in range(1_000):
        hub.wake_me(lambda: None)
    ids = [tell() for _ in range(20)]
    until(lambda: hub.last_id == ids[-1])

    assert len(hub.after(place_of(ids[-6])) or []) == 5
    assert hub.client_count == 1_000
