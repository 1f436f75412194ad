"""Hours on record: each once, from the minutes in Redis, and kept when Redis forgets."""

from __future__ import annotations

import pytest
import redis
from sqlalchemy import func, select

from teknav_ops.alerts.hours import HourBook
from teknav_ops.metrics.minutes import MINUTE_MS
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import QueueHour
from teknav_ops.triage.burn_rate import EventCounts
from tests.support.state import KEYS, QUEUE
from tests.support.topology import TOPOLOGY


def this_hour(client: redis.Redis) -> int:
    seconds, _ = client.time()
    return int(seconds) * 1000 // MINUTE_MS // 60


@pytest.mark.each_database
def test_hours_that_are_over_are_written_and_the_current_one_is_not(client: redis.Redis, database: Database) -> None:
    hour = this_hour(client)
    for minute in (0, 59):
        client.hset(
            KEYS.minute((hour - 2) * 60 + minute),
            mapping={"work|completed": 10, "other|failed": 1, "work|retried": 5},
        )
    client.hset(KEYS.minute(hour * 60), mapping={"work|completed": 7})
    book = HourBook(client, database, TOPOLOGY)  # type: ignore[arg-type]
    assert book.known is None

    while book.step():
        pass

    assert book.known is not None
    known = book.known[QUEUE]
    assert known[hour - 2] == EventCounts(22, 2) and known[hour - 1] == EventCounts(0, 0)
    assert hour not in known and len(known) == 24


@pytest.mark.each_database
def test_a_redis_that_lost_its_past_does_not_rewrite_what_is_on_record(client: redis.Redis, database: Database) -> None:
    hour = this_hour(client)
    client.hset(KEYS.minute((hour - 1) * 60), mapping={"work|completed": 10})
    HourBook(client, database, TOPOLOGY).step()  # type: ignore[arg-type]
    client.flushall()

    successor = HourBook(client, database, TOPOLOGY)  # type: ignore[arg-type]
    while successor.step():
        pass

    assert successor.known is not None and successor.known[QUEUE][hour - 1].total_count == 10
    assert HourBook(client, database, TOPOLOGY).look() == successor.known  # type: ignore[arg-type]


@pytest.mark.each_database
def test_two_that_write_at_once_write_each_hour_once(client: redis.Redis, database: Database) -> None:
    books = [HourBook(client, database, TOPOLOGY) for _ in range(2)]  # type: ignore[arg-type]
    for _ in range(5):
        for book in books:
            book.step()

    with database.reading() as session:
        count, distinct = session.execute(
            select(func.count(), func.count(func.distinct(QueueHour.hour_at))).where(QueueHour.queue == QUEUE)
        ).one()
    assert count == distinct == 24


def test_without_a_queue_that_can_be_read_nothing_is_written(client: redis.Redis, database: Database) -> None:
    for queue in TOPOLOGY:
        client.set(f"teknav:{{{queue}}}:waiting", "damaged")

    book = HourBook(client, database, TOPOLOGY)  # type: ignore[arg-type]

    assert book.step() is False and book.known is None and book.look() is None
