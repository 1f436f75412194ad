"""Live stats: what is published, who may publish, and what a reader is told."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import redis

from teknav_ops.jobs.sketch import RunDurations
from teknav_ops.metrics.live import STALE_MS, QueueStats, StatsPublisher, in_window, read_all_stats, read_stats
from teknav_ops.metrics.minutes import MinuteCounts
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import QueueCounts
from teknav_ops.runtime.leader import LeaderLease
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass
class Chief:
    """A leader by word of the test."""

    holder: str = "a"
    term: int = 1


def publisher(client: Any, holder: str = "a", term: int = 1) -> StatsPublisher:
    return StatsPublisher(client, TOPOLOGY, Chief(holder, term))


def read(client: Any) -> QueueStats:
    stats = read_stats(client, QUEUE)
    assert stats is not None
    return stats


def rewrite(client: redis.Redis, *, age_ms: int, **changes: Any) -> None:
    """Make the published stats so old."""
    stats = read(client).model_copy(update=changes)
    at_ms = stats.last_updated_at_ms - age_ms
    text = stats.model_copy(update={"last_updated_at_ms": at_ms}).to_json()
    client.set(keys.stats(QUEUE), text, pxat=at_ms + 3_600_000)


def test_what_is_published_is_what_the_queue_holds(state: State) -> None:
    for facts in ({}, {}, {"priority": 1}, {"delay_ms": 60_000}, {}, {}):
        state.enqueue(**facts)
    done, lost, _ = state.fetch(3)
    state.complete(done)
    state.dead_letter(lost)
    state.client.zadd(KEYS.workers, {"w:1": state.client.time()[0] * 1000, "w:2": 1})

    published = publisher(state.client).publish()

    stats = read(state.client)
    assert stats == published[QUEUE].model_copy(update={"age_ms": stats.age_ms})
    assert (stats.waiting, stats.active, stats.delayed, stats.completed, stats.failed, stats.dlq) == (2, 1, 1, 1, 1, 1)
    assert (stats.paused, stats.is_paused, stats.workers, stats.runs) == (0, False, 1, 1)
    assert (stats.failed_runs, stats.error_rate) == (1, 0.5)
    assert stats.rate == pytest.approx(2 / 300, abs=1e-6)
    assert (stats.completed_total, stats.failed_total) == (1, 1)
    assert stats.completed_rate == stats.failed_rate == pytest.approx(stats.rate / 2, abs=1e-6)
    assert stats.avg_duration_ms == stats.avg_failed_duration_ms == 5.0
    assert stats.p50_duration_ms == stats.p95_duration_ms == stats.p99_duration_ms == pytest.approx(5.0, rel=0.1)
    assert stats.p95_failed_duration_ms == pytest.approx(5.0, rel=0.1)
    assert stats.avg_waited_ms is not None and 0 <= stats.avg_waited_ms < 60_000
    assert stats.oldest_waiting_age_ms is not None and 0 <= stats.oldest_waiting_age_ms < 60_000
    assert stats.audit_backlog == len(state.actions())
    assert (stats.publisher, stats.term, stats.is_stale) == ("a", 1, False)
    assert 0 <= stats.age_ms < STALE_MS


def test_while_a_queue_is_paused_what_waits_counts_as_paused(state: State) -> None:
    state.enqueue()
    state.run(scripts.set_control(KEYS, actor="a", action="queue.paused", fields={"paused": "1"}))

    publisher(state.client).publish()

    stats = read(state.client)
    assert (stats.waiting, stats.paused, stats.is_paused) == (0, 1, True)


def test_a_queue_without_jobs_has_no_durations(client: redis.Redis) -> None:
    publisher(client).publish()

    stats = read(client)
    assert (stats.rate, stats.runs, stats.avg_duration_ms, stats.p95_duration_ms) == (0.0, 0, None, None)
    assert stats.oldest_waiting_age_ms is None


def test_the_fields_are_those_of_the_docs(client: redis.Redis) -> None:
    publisher(client).publish()
    section = (ROOT / "docs/metrics.md").read_text().partition("## Live stats")[2].partition("\n## ")[0]

    stored = json.loads(client.get(keys.stats(QUEUE)))  # type: ignore[arg-type]

    fixed = {"waiting", "active", "completed", "failed", "delayed", "paused", "rate", "avgDurationMs", "p95DurationMs",
             "lastUpdatedAt", "dlq", "oldestWaitingAgeMs", "workers"}  # fmt: skip
    assert fixed <= set(stored)
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.M)) == set(stored)


def test_nobody_publishes(client: redis.Redis) -> None:
    assert read_stats(client, QUEUE) is None  # type: ignore[arg-type]
    assert read_all_stats(client, TOPOLOGY) == {"test:work": None, "test:other": None}  # type: ignore[arg-type]


def test_all_queues_are_read_in_one_round_trip(client: redis.Redis) -> None:
    publisher(client).publish()
    before = client.info("stats")["total_reads_processed"]

    found = read_all_stats(client, TOPOLOGY)  # type: ignore[arg-type]

    assert client.info("stats")["total_reads_processed"] - before == 2
    assert [stats and stats.queue for stats in found.values()] == ["test:work", "test:other"]


@pytest.mark.parametrize(("age_ms", "is_stale"), [(0, False), (STALE_MS + 1_000, True), (-3_600_000, True)])
def test_a_reader_sees_by_the_servers_clock_how_old_stats_are(
    client: redis.Redis, age_ms: int, is_stale: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher(client).publish()
    rewrite(client, age_ms=age_ms)
    monkeypatch.setattr("time.time", lambda: 0.0)

    stats = read(client)

    assert stats.is_stale is is_stale
    assert 0 <= stats.age_ms - age_ms < 20_000


@pytest.mark.parametrize("damage", ["", "{", '{"waiting": "many"}', "[]"])
def test_damaged_stats_are_read_as_none_and_published_anew(client: redis.Redis, damage: str) -> None:
    client.set(keys.stats(QUEUE), damage)
    assert read_stats(client, QUEUE) is None  # type: ignore[arg-type]

    publisher(client).publish()

    assert read(client).waiting == 0


def test_stats_of_a_later_version_are_read(client: redis.Redis) -> None:
    publisher(client).publish()
    stored = json.loads(client.get(keys.stats(QUEUE)))  # type: ignore[arg-type]
    client.set(keys.stats(QUEUE), json.dumps({**stored, "mood": "good"}), keepttl=True)

    assert read(client).runs == 0


def test_a_damaged_queue_hides_no_other(client: redis.Redis) -> None:
    client.set(KEYS.waiting, "no list")

    assert list(publisher(client).publish()) == ["test:other"]


def test_who_was_overtaken_between_reading_and_writing_overwrites_nothing(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (LeaderLease(client, "test", lease_ms=60_000) for _ in range(2))  # type: ignore[arg-type]
    first.hold()
    sleeper = StatsPublisher(client, TOPOLOGY, first)  # type: ignore[arg-type]
    read_counts = sleeper._read

    def sleep() -> dict[str, Any]:
        read = read_counts()
        client.delete(keys.lease("test"))
        assert second.hold() and second.term == first.term + 1
        assert len(StatsPublisher(client, TOPOLOGY, second).publish()) == 2  # type: ignore[arg-type]
        return read

    monkeypatch.setattr(sleeper, "_read", sleep)
    assert sleeper.publish() == {}
    assert read(client).publisher == second.holder


def test_a_leader_goes_on_when_its_term_was_lost_and_when_the_clock_steps_back(client: redis.Redis) -> None:
    lease = LeaderLease(client, "test")  # type: ignore[arg-type]
    client.set(keys.lease_term("test"), 56)
    lease.hold()
    publishing = StatsPublisher(client, TOPOLOGY, lease)  # type: ignore[arg-type]
    publishing.publish()
    assert read(client).term == 57

    client.delete(keys.lease_term("test"))
    lease.hold()
    assert lease.term == 1 and len(publishing.publish()) == 2
    assert read(client).term == 1

    rewrite(client, age_ms=-3_600_000)
    assert read(client).is_stale
    assert len(publishing.publish()) == 2
    assert not read(client).is_stale


def test_counts_of_a_clock_that_stepped_back_are_published(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    publishing = publisher(client)
    publishing.publish()
    was_at_ms = read(client).last_updated_at_ms
    parse = scripts._parse_counts
    back = 50_000

    def step_back(raw: list[Any]) -> QueueCounts:
        counts = parse(raw)
        return dataclasses.replace(counts, at_ms=counts.at_ms - back)

    monkeypatch.setattr(scripts, "_parse_counts", step_back)
    assert len(publishing.publish()) == 2
    assert read(client).last_updated_at_ms < was_at_ms


def test_publishing_goes_on_when_redis_was_killed_and_started_again(own_server: RedisServer) -> None:
    client = own_server.client()
    state = State(client)
    state.enqueue()
    publishing = publisher(client)
    publishing.publish()

    own_server.kill()
    with pytest.raises(redis.exceptions.ConnectionError):
        publishing.publish()
    own_server.start()

    until(lambda: publishing.publish(), what="stats after the restart")
    assert read(client).waiting == 1
    client.close()


def test_stats_are_announced_once_they_are_in_place(client: redis.Redis) -> None:
    listener = client.pubsub()
    listener.subscribe(keys.EVENTS_CHANNEL)
    until(lambda: listener.get_message())

    publisher(client).publish()

    event = json.loads(until(lambda: listener.get_message())["data"])
    assert (event["type"], event["queues"]) == ("stats.updated", ["test:work", "test:other"])
    listener.close()


def test_a_cluster_has_stats_too(cluster_client: Client) -> None:
    assert len(publisher(cluster_client).publish()) == 2

    found = read_all_stats(cluster_client, TOPOLOGY)
    assert all(stats is not None and not stats.is_stale for stats in found.values())


def test_a_window_of_five_minutes_holds_five_minutes() -> None:
    rows = [_minute(number, 600) for number in range(99, 105)] + [_minute(105, 300)]

    # Half of minute 105 has passed: half of minute 100 still counts, and 99 not at all.
    merged = in_window(rows, 105 * 60_000 + 30_000)

    assert merged.completed == merged.runs().count == 300 + 4 * 600 + 300
    assert in_window([_minute(100, 10_000)], 105 * 60_000).completed == 10_000
    assert in_window([_minute(99, 10_000)], 105 * 60_000).completed == 0


def test_a_part_of_a_minutes_runs_has_their_distribution_and_mean() -> None:
    whole = RunDurations(500.0, {"b10": 70, "b9": 20, "b100": 10})

    assert whole.part(0.5).buckets == {"b9": 10, "b10": 35, "b100": 5}
    assert whole.part(0.5).mean_ms == whole.mean_ms
    assert whole.part(1.0) == whole and whole.part(0.0).count == 0
    assert RunDurations(4.0, {"b1": 1, "b2": 1, "b3": 1, "b4": 1}).part(0.5).count == 2


def _minute(number: int, completed: int) -> MinuteCounts:
    runs = RunDurations(float(completed), {"b10": completed})
    return MinuteCounts(
        minute=number, job=None, enqueued=0, completed=completed, failed=0, retried=0, completed_runs=runs
    )
