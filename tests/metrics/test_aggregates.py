"""One `queue.metrics` row per queue and slot of five minutes, whatever dies, restarts, or works beside another."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import event, select
from sqlalchemy.orm import Session

from teknav_ops.errors import StorageUnavailable
from teknav_ops.jobs.sketch import bucket
from teknav_ops.metrics import aggregates
from teknav_ops.metrics.aggregates import LOOKBACK_SLOTS, SLOT_MINUTES, SLOT_MS, Aggregator, SlotStats
from teknav_ops.metrics.live import count_queues
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY

ROOT = Path(__file__).parents[2]
#: A slot that began at 2026-11-25 10:05 UTC.
SLOT = int(datetime(2026, 11, 25, 10, 5, tzinfo=UTC).timestamp() * 1000) // SLOT_MS
#: A minute after its end.
AFTER_MS = (SLOT + 1) * SLOT_MS + 60_000
BOTH = ("test:work", "test:other")


def aggregator(client: Any, database: Database) -> Aggregator:
    return Aggregator(client, database, TOPOLOGY)


def counts_of(client: Any) -> dict[str, QueueCounts]:
    return count_queues(ScriptRunner(client), TOPOLOGY)


def happen(client: redis.Redis, slot: int, *, minute: int = 0, queue: str = QUEUE, **counters: int) -> None:
    mapping = {f"work|{name}": count for name, count in counters.items()}
    client.hset(QueueKeys(queue).minute(slot * SLOT_MINUTES + minute), mapping=mapping)


def fill(built: Aggregator, client: Any, at_ms: int) -> int:
    """All steps until nothing is due; answers how many."""
    for steps in range(1, 100):
        if not built.fill(at_ms, counts_of(client)):
            return steps
    raise AssertionError("it never comes to an end")


def rows(database: Database) -> list[AuditLog]:
    query = select(AuditLog).where(AuditLog.action == "queue.metrics").order_by(AuditLog.at, AuditLog.id)
    with database.session() as session:
        return list(session.scalars(query))


def slots(found: Iterable[AuditLog], queue: str = QUEUE) -> list[int]:
    """The queue's slots on record, seen from `SLOT`, as often as they are."""
    return [int((row.stream_id or "").removeprefix("metrics:")) - SLOT for row in found if row.queue == queue]


def stats(row: AuditLog) -> Mapping[str, Any]:
    assert row.detail is not None
    found: Mapping[str, Any] = row.detail["stats"]
    return found


@pytest.mark.each_database
def test_a_row_is_computed_from_its_slots_minutes_and_the_queue_as_it_is(state: State, database: Database) -> None:
    client = state.client
    state.enqueue()
    state.dead()
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))
    client.hset(KEYS.minute(SLOT * SLOT_MINUTES), "enqueued", 7)
    happen(client, SLOT, minute=0, completed=3, sum_us=30_000, waited_ms=400, **{bucket(10): 3})
    happen(client, SLOT, minute=4, failed=1, retried=2, waited_ms=200,
           **{"failed:sum_us": 2_970_000, f"failed:{bucket(990)}": 3})  # fmt: skip
    happen(client, SLOT, minute=5, completed=100)
    happen(client, SLOT, minute=-1, completed=100)

    fill(aggregator(client, database), client, AFTER_MS)

    row = next(row for row in rows(database) if row.queue == QUEUE and slots([row]) == [0])
    assert (row.actor, row.job_id, row.at) == ("scheduler", None, datetime(2026, 11, 25, 10, 10, tzinfo=UTC))
    assert row.detail is not None and set(row.detail) == {"stats", "aggregateAt"}
    assert row.detail["aggregateAt"] == "2026-11-25T10:10:00+00:00"
    found = stats(row)
    assert [found[name] for name in ("enqueued", "completed", "failed", "retried", "runs")] == [7, 3, 1, 2, 3]
    assert (found["rate"], found["errorRate"], found["failedRuns"]) == (round(4 / 300, 6), 0.5, 3)
    assert (found["avgDurationMs"], found["avgFailedDurationMs"], found["avgWaitedMs"]) == (10.0, 990.0, 100.0)
    assert found["p50DurationMs"] == found["p95DurationMs"] == found["p99DurationMs"] == pytest.approx(10, rel=0.02)
    assert found["p95FailedDurationMs"] == pytest.approx(990, rel=0.02)
    assert (found["paused"], found["waiting"], found["isPaused"], found["dlq"]) == (1, 0, True, 1)


def test_nothing_is_written_before_a_slot_is_over_and_nothing_twice(client: redis.Redis, database: Database) -> None:
    built = aggregator(client, database)
    ends_ms = (SLOT + 1) * SLOT_MS
    fill(built, client, ends_ms - 1)
    assert {row.stream_id for row in rows(database)} == {f"metrics:{SLOT - 1}"}

    for at_ms in (ends_ms, ends_ms + 1, ends_ms + SLOT_MS - 1):
        fill(built, client, at_ms)
        fill(aggregator(client, database), client, at_ms)

    assert [slots(rows(database), queue) for queue in BOTH] == [[-1, 0], [-1, 0]]


def test_slots_missed_in_a_downtime_are_made_up_for_without_a_state(client: redis.Redis, database: Database) -> None:
    fill(aggregator(client, database), client, AFTER_MS - 30 * SLOT_MS)
    happen(client, SLOT - 20, completed=5)

    steps = fill(aggregator(client, database), client, AFTER_MS)

    found = rows(database)
    assert steps > 1
    assert [slots(found, queue) for queue in BOTH] == [list(range(-30, 1))] * 2
    by_slot = {slots([row])[0]: stats(row) for row in found if row.queue == QUEUE}
    assert by_slot[-20]["completed"] == 5 and by_slot[-19]["completed"] == 0
    assert by_slot[-20]["waiting"] is by_slot[-1]["dlq"] is None
    assert by_slot[0]["waiting"] == 0


def test_a_day_is_made_up_for_at_most(client: redis.Redis, database: Database) -> None:
    fill(aggregator(client, database), client, AFTER_MS - 3 * LOOKBACK_SLOTS * SLOT_MS)
    for slot in (-LOOKBACK_SLOTS, 1 - LOOKBACK_SLOTS):
        happen(client, SLOT + slot, completed=1)

    fill(aggregator(client, database), client, AFTER_MS)

    assert slots(rows(database)) == [-3 * LOOKBACK_SLOTS, *range(1 - LOOKBACK_SLOTS, 1)]


def test_a_new_queue_begins_where_something_happened_first(client: redis.Redis, database: Database) -> None:
    happen(client, SLOT - 40, completed=1)

    fill(aggregator(client, database), client, AFTER_MS)

    found = rows(database)
    assert slots(found) == list(range(-40, 1))
    assert slots(found, "test:other") == [0]


def test_a_queue_whose_structures_are_damaged_is_aggregated_without_a_state(
    client: redis.Redis, database: Database
) -> None:
    client.set(KEYS.waiting, "no list")
    happen(client, SLOT, completed=1)

    fill(aggregator(client, database), client, AFTER_MS)

    found = {row.queue: stats(row) for row in rows(database)}
    assert (found[QUEUE]["completed"], found[QUEUE]["waiting"], found["test:other"]["waiting"]) == (1, None, 0)


@pytest.mark.each_database
def test_two_at_once_write_each_row_once(redis_server: RedisServer, client: redis.Redis, database: Database) -> None:
    happen(client, SLOT - 60, completed=1)
    barrier = threading.Barrier(2)
    failures: list[BaseException] = []

    def work() -> None:
        mine = redis_server.client()
        built = aggregator(mine, database)
        try:
            for at_ms in (AFTER_MS - 30 * SLOT_MS, AFTER_MS):
                barrier.wait(30)
                fill(built, mine, at_ms)
        except BaseException as error:
            failures.append(error)
        finally:
            mine.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not failures
    assert slots(rows(database)) == list(range(-60, 1))
    assert slots(rows(database), "test:other") == list(range(-30, 1))


@pytest.mark.each_database
def test_a_scheduler_that_leads_again_doubles_nothing(client: redis.Redis, database: Database) -> None:
    first, second = aggregator(client, database), aggregator(client, database)
    fill(first, client, AFTER_MS - 4 * SLOT_MS)
    fill(second, client, AFTER_MS - SLOT_MS)

    fill(first, client, AFTER_MS)

    assert slots(rows(database)) == [-4, -3, -2, -1, 0]


def test_a_clock_that_steps_back_writes_nothing_twice_and_goes_on(client: redis.Redis, database: Database) -> None:
    built = aggregator(client, database)
    for at_ms in (AFTER_MS, AFTER_MS - 3 * SLOT_MS, AFTER_MS + SLOT_MS):
        fill(built, client, at_ms)
        fill(aggregator(client, database), client, at_ms)

    found = slots(rows(database))
    assert found == sorted(set(found)) and {0, 1} <= set(found)


def _write_and_die(redis_url: str, database_url: str) -> None:
    store = aggregates.store

    def insert_and_die(session: Session, due: list[dict[str, Any]]) -> None:
        store(session, due)
        assert session.scalars(select(AuditLog.id)).first() is not None
        os.kill(os.getpid(), signal.SIGKILL)

    aggregates.store = insert_and_die  # type: ignore[assignment]
    client = connect(redis_url)
    fill(Aggregator(client, Database.open(database_url), TOPOLOGY), client, AFTER_MS)


@pytest.mark.each_database
def test_one_killed_between_insert_and_commit_leaves_nothing_half_done(
    redis_server: RedisServer, client: redis.Redis, database_url: str, database: Database
) -> None:
    happen(client, SLOT, completed=2)
    process = warm_python.start_function(_write_and_die, redis_server.url, database_url)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL
    assert rows(database) == []

    fill(aggregator(client, database), client, AFTER_MS)

    assert [slots(rows(database), queue) for queue in BOTH] == [[0], [0]]
    assert stats(rows(database)[0])["completed"] == 2


def test_what_sql_did_not_take_is_written_later(client: redis.Redis, database: Database) -> None:
    built = aggregator(client, database)
    fill(built, client, AFTER_MS - SLOT_MS)

    def refuse(*_: object) -> None:
        raise StorageUnavailable("away")

    event.listen(database.engine, "begin", refuse)
    with pytest.raises(StorageUnavailable):
        built.fill(AFTER_MS, counts_of(client))
    event.remove(database.engine, "begin", refuse)

    fill(built, client, AFTER_MS)
    assert slots(rows(database)) == [-1, 0]


def test_the_duty_writes_the_slot_that_has_just_ended_by_the_servers_clock(
    client: redis.Redis, database: Database
) -> None:
    before = int(client.time()[0]) * 1000 // SLOT_MS - 1
    built = aggregator(client, database)
    while built.step():
        pass
    after = int(client.time()[0]) * 1000 // SLOT_MS - 1

    written = slots(rows(database))
    assert written and {before - SLOT, after - SLOT} >= set(written)
    assert built.step() is False


def test_the_fields_are_those_of_the_docs() -> None:
    section = (ROOT / "docs/metrics.md").read_text().partition("## Aggregates")[2].partition("\n## ")[0]
    documented = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`[^|]+) \|", section, re.M)))

    assert documented == [field.alias for field in SlotStats.model_fields.values()]
