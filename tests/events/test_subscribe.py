"""Reading events: what was missed, then what happens, with no seam."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis

from teknav_ops.errors import InvalidRequest
from teknav_ops.events.models import Event, JobCompleted, PluginExecuted
from teknav_ops.events.publish import publish, publish_stats_updated
from teknav_ops.events.relay import EventRelay
from teknav_ops.events.subscribe import BEGINNING, Gap, Subscription, newest_id, read_since
from teknav_ops.redis_state.keys import EVENTS_STREAM
from tests.events.conftest import MakeRelay
from tests.support import warm_python
from tests.support.completed_jobs import complete_jobs
from tests.support.redis_server import RedisServer
from tests.support.relays import await_beginning, relay_for_ever, stepping
from tests.support.waiting import until


def publish_number(client: Any, number: int, *, queue: str = "test:work", kept: int = 10_000) -> str:
    event = PluginExecuted(
        at_ms=number, queue=queue, job_id=str(number), plugin="p", event="article.published", duration_ms=1.0
    )
    return publish(client, event, kept=kept)


def numbers(events: list[Event]) -> list[int]:
    return [event.at_ms for event in events]


class Reader:
    """A subscription read in a thread, as a page would."""

    def __init__(self, client: Any, **options: Any) -> None:
        self.subscription = Subscription(client, heartbeat_seconds=0.1, **options)
        self.seen: list[Event] = []
        self.gaps: list[Gap] = []
        self.heartbeats = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        for event in self.subscription:
            if isinstance(event, Gap):
                self.gaps.append(event)
            elif event is None:
                self.heartbeats += 1
            else:
                self.seen.append(event)
            if self._stopped.is_set():
                return

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(45)
        assert not self._thread.is_alive()


@pytest.fixture
def reading(request: pytest.FixtureRequest) -> Callable[..., Reader]:
    def start(client: Any, **options: Any) -> Reader:
        reader = Reader(client, **options)
        request.addfinalizer(reader.stop)
        return reader

    return start


def test_a_client_goes_on_from_the_last_event_it_read(client: redis.Redis) -> None:
    ids = [publish_number(client, number) for number in range(5)]

    page = read_since(client, ids[1], 2)  # type: ignore[arg-type]
    assert (numbers(page.events), page.last_id, page.is_gap) == ([2, 3], ids[3], False)
    rest = read_since(client, page.last_id)  # type: ignore[arg-type]
    assert (numbers(rest.events), rest.last_id) == ([4], ids[4])
    nothing = read_since(client, rest.last_id)  # type: ignore[arg-type]
    assert (nothing.events, nothing.last_id, nothing.is_gap) == ([], ids[4], False)
    assert numbers(read_since(client).events) == [0, 1, 2, 3, 4]  # type: ignore[arg-type]


def test_a_client_whose_place_is_gone_is_told_to_load_anew(client: redis.Redis) -> None:
    first = publish_number(client, 0)
    for number in range(1, 400):
        publish_number(client, number, kept=100)

    page = read_since(client, first)  # type: ignore[arg-type]
    assert page.is_gap and page.events
    client.delete(EVENTS_STREAM)
    assert read_since(client, first).is_gap  # type: ignore[arg-type]


@pytest.mark.parametrize(("last_id", "limit"), [("yesterday", 1), ("5", 1), ("", 1), ("1-1", 0)])
def test_a_bad_place_or_limit_is_named(client: redis.Redis, last_id: str, limit: int) -> None:
    with pytest.raises(InvalidRequest, match=r"last_id|limit"):
        read_since(client, last_id, limit)  # type: ignore[arg-type]


def test_an_event_of_a_later_version_is_passed_over(client: redis.Redis) -> None:
    client.xadd(EVENTS_STREAM, {"event": '{"v": 2, "type": "job.completed"}'})
    client.xadd(EVENTS_STREAM, {"event": '{"v": 1, "type": "moon.landed", "atMs": 1}'})
    client.xadd(EVENTS_STREAM, {"event": "not json"})
    last = publish_number(client, 7)

    page = read_since(client)  # type: ignore[arg-type]
    assert (numbers(page.events), page.last_id) == ([7], last)


def test_a_subscription_replays_then_goes_live(client: redis.Redis, reading: Callable[..., Reader]) -> None:
    ids = [publish_number(client, number) for number in range(3)]
    reader = reading(client, last_id=ids[0])
    until(lambda: numbers(reader.seen) == [1, 2] and reader.heartbeats)
    publish_number(client, 3)

    until(lambda: numbers(reader.seen) == [1, 2, 3])
    assert reader.subscription.last_id == reader.seen[-1].id
    assert not reader.gaps


def test_only_the_queues_and_types_asked_for_are_given(client: redis.Redis, reading: Callable[..., Reader]) -> None:
    start = newest_id(client)  # type: ignore[arg-type]
    assert start == BEGINNING
    by_queue, by_type = reading(client, queues={"test:work"}), reading(client, types={"stats.updated"})
    publish_number(client, 1)
    publish_number(client, 2, queue="test:other")
    publish_stats_updated(client, ["test:work", "test:other"], at_ms=3, kept=1_000)  # type: ignore[arg-type]

    until(lambda: numbers(by_queue.seen) == [1, 3])
    until(lambda: numbers(by_type.seen) == [3])


def test_a_subscription_that_fell_behind_what_is_kept_is_told_so_once(
    client: redis.Redis, reading: Callable[..., Reader]
) -> None:
    first = publish_number(client, 0)
    for number in range(1, 400):
        publish_number(client, number, kept=100)
    reader = reading(client, last_id=first)
    until(lambda: reader.seen and reader.seen[-1].at_ms == 399)
    publish_number(client, 400)

    until(lambda: reader.seen[-1].at_ms == 400)
    assert reader.gaps == [Gap(first)]


def test_an_id_of_the_future_is_a_gap_and_what_comes_is_read(
    client: redis.Redis, reading: Callable[..., Reader]
) -> None:
    publish_number(client, 1)
    reader = reading(client, last_id="9999999999999-0")
    until(lambda: reader.gaps)
    publish_number(client, 2)

    until(lambda: numbers(reader.seen) == [2])
    assert len(reader.gaps) == 1


def test_a_subscription_survives_a_restart_of_redis(own_server: RedisServer, reading: Callable[..., Reader]) -> None:
    client = own_server.client()
    reader = reading(own_server.client())
    publish_number(client, 1)
    until(lambda: numbers(reader.seen) == [1])
    own_server.kill()
    beats = reader.heartbeats
    until(lambda: reader.heartbeats > beats + 1)
    own_server.start()
    with own_server.client() as again:
        publish_number(again, 2)

    until(lambda: numbers(reader.seen) == [1, 2])
    assert not reader.gaps
    client.close()


def test_a_subscriber_sees_everything_once_across_a_relay_that_is_killed(
    make_relay: MakeRelay, redis_server: RedisServer, client: redis.Redis, reading: Callable[..., Reader]
) -> None:
    process = warm_python.start_function(relay_for_ever, redis_server.url)
    await_beginning(client)
    reader = reading(redis_server.client(), types={"job.completed"})
    complete_jobs(client, 2_000)
    until(lambda: reader.seen)
    process.kill()
    process.wait()
    complete_jobs(client, 2_000)
    with redis_server.client() as another, stepping(make_relay(another)):
        until(lambda: _count(reader.seen) >= 4_000)

    assert _count(reader.seen) == 4_000
    assert len({event.id for event in reader.seen}) == len(reader.seen)
    assert [event.id for event in reader.seen] == sorted((event.id for event in reader.seen), key=_order)


def test_a_new_reader_begins_where_the_old_one_stopped(
    relay: EventRelay, client: redis.Redis, reading: Callable[..., Reader]
) -> None:
    first = reading(client)
    with stepping(relay):
        complete_jobs(client, 3, group=1)
        until(lambda: len(first.seen) == 3)
        first.stop()
        complete_jobs(client, 3, group=1)
        second = reading(client, last_id=first.subscription.last_id)
        until(lambda: _count(second.seen) == 3)
    seen = [job.job_id for event in first.seen + second.seen for job in event.jobs]  # type: ignore[union-attr]
    assert len(seen) == len(set(seen)) == 6 and all(uuid.UUID(job_id) for job_id in seen)


def _count(events: list[Event]) -> int:
    return sum(event.count for event in events if isinstance(event, JobCompleted))


def _order(event_id: str) -> tuple[int, ...]:
    return tuple(map(int, event_id.split("-")))
