"""All queues at one glance, and what needs a person first."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from teknav_ops.errors import CorruptRecord
from teknav_ops.metrics.live import QueueStats
from teknav_ops.metrics.overview import attention, read_last_hour, read_now, read_queues_now
from teknav_ops.metrics.scheduler_state import SchedulerState, read_scheduler
from teknav_ops.redis_state import keys
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY


def now(queue: str = "a:b", **facts: Any) -> QueueStats:
    quiet = dict.fromkeys(("waiting", "paused", "active", "delayed", "completed", "failed", "dlq", "runs"), 0)
    unknown = dict.fromkeys(
        ("avg_duration_ms", "p50_duration_ms", "p95_duration_ms", "p99_duration_ms", "avg_waited_ms")
    )
    known = {"queue": queue, "workers": 1, "is_paused": False, "oldest_waiting_age_ms": None, "rate": 0.0,
             "audit_backlog": 0, "audit_lag_ms": 0, "last_updated_at_ms": 0, "term": 1, "publisher": "p"}  # fmt: skip
    return QueueStats(**{**quiet, **unknown, **known, **facts})


def kinds(*stats: QueueStats, scheduler: SchedulerState = "publishes") -> list[tuple[str, str, str | None]]:
    found = attention({each.queue: each for each in stats}, scheduler=scheduler)
    return [(about.severity, about.kind, about.queue) for about in found]


def test_a_quiet_system_needs_nobody() -> None:
    assert kinds(now(), now("c:d", waiting=5, oldest_waiting_age_ms=1_000)) == []


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"waiting": 3, "workers": 0}, ("bad", "no-workers")),
        ({"delayed": 3, "workers": 0, "oldest_waiting_age_ms": 0}, ("bad", "no-workers")),
        ({"waiting": 3, "oldest_waiting_age_ms": 61_000}, ("warn", "behind")),
        ({"waiting": 3, "oldest_waiting_age_ms": 301_000}, ("bad", "stuck")),
        ({"paused": 3, "is_paused": True, "oldest_waiting_age_ms": 301_000}, ("warn", "paused")),
        ({"dlq": 1}, ("warn", "dead-letters")),
        ({"audit_lag_ms": 61_000}, ("warn", "audit-lag")),
    ],
)
def test_each_trouble_is_named(facts: dict[str, Any], expected: tuple[str, str]) -> None:
    assert kinds(now(**facts)) == [(*expected, "a:b")]


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"waiting": 3, "workers": 0}, "3 jobs wait and no worker takes them"),
        ({"delayed": 3, "workers": 0, "oldest_waiting_age_ms": 5}, "jobs that fell due wait and no worker takes them"),
        ({"waiting": 3, "oldest_waiting_age_ms": 61_000}, "the oldest job has waited for 1 min; 3 are waiting"),
        ({"delayed": 3, "oldest_waiting_age_ms": 61_000}, "the oldest job fell due 1 min ago"),
    ],
)
def test_what_fell_due_and_was_not_fetched_waits_too(facts: dict[str, Any], text: str) -> None:
    (found,) = attention({"a:b": now(**facts)}, scheduler="publishes")
    assert found.text == text


def test_the_worst_comes_first_and_dead_letters_share_a_line() -> None:
    found = kinds(now("a:b", dlq=2), now("c:d", dlq=3), now("e:f", waiting=1, workers=0), scheduler="missing")

    assert found == [("bad", "no-scheduler", None), ("bad", "no-workers", "e:f"), ("warn", "dead-letters", None)]
    (letters,) = attention({"a:b": now("a:b", dlq=2), "c:d": now("c:d", dlq=3)}, scheduler="publishes")
    assert letters.text == "5 dead letters wait to be decided on 2 queues: c:d 3, a:b 2"


def test_a_scheduler_that_starts_is_not_called_missing(client: redis.Redis) -> None:
    asked: Any = client
    assert read_scheduler(asked, TOPOLOGY) == "missing"
    client.set(keys.STARTING, "1", px=60_000)
    assert read_scheduler(asked, TOPOLOGY) == "starting"
    client.delete(keys.STARTING)
    client.set(keys.lease("scheduler"), "host:1")
    assert read_scheduler(asked, TOPOLOGY) == "starting"
    assert kinds(now(), scheduler="starting") == [("warn", "no-scheduler", None)]
    assert kinds(now(), scheduler="missing") == [("bad", "no-scheduler", None)]


def test_numbers_are_of_this_instant_without_a_scheduler(client: redis.Redis) -> None:
    state = State(client)
    state.dead()
    state.enqueue()

    stats = read_now(client, TOPOLOGY)["test:work"]  # type: ignore[arg-type]

    assert (stats.waiting, stats.dlq, stats.runs, stats.p95_duration_ms) == (1, 1, 0, None)
    assert (stats.failed_runs, stats.p95_failed_duration_ms) == (1, pytest.approx(5.0, rel=0.02))
    (minute,) = read_last_hour(client, ["test:work"], stats.last_updated_at_ms)["test:work"]  # type: ignore[arg-type]
    assert minute.failed == 1


def test_a_damaged_queue_hides_no_other_and_is_named_when_asked_for(client: redis.Redis) -> None:
    client.set(KEYS.waiting, "not a list")

    assert list(read_now(client, TOPOLOGY)) == ["test:other"]  # type: ignore[arg-type]
    with pytest.raises(CorruptRecord, match="test:work"):
        read_queues_now(client, ["test:work"])  # type: ignore[arg-type]
