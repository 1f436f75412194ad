"""What the finish scripts counted, read back minute by minute."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.sketch import ALPHA, RunDurations, bucket
from teknav_ops.metrics.minutes import KEPT_MINUTES, MINUTE_MS, MinuteCounts, merge, read_many_minutes, read_minutes
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from tests.support.state import KEYS, QUEUE, State


def this_minute(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return (int(seconds) * 1000 + int(microseconds) // 1000) // MINUTE_MS


def write(client: redis.Redis, minute: int, job: str = "work", **counters: int) -> None:
    mapping = {f"{job}|{name}": count for name, count in counters.items()}
    client.hset(KEYS.minute(minute), mapping=mapping)


def row(**facts: Any) -> MinuteCounts:
    zeros = {"minute": 1, "job": None, "enqueued": 0, "completed": 0, "failed": 0, "retried": 0}
    return MinuteCounts(**{**zeros, **facts})


def test_what_scripts_counted_is_what_is_read(state: State) -> None:
    first = this_minute(state.client)
    for name in ("work", "work", "confide"):
        state.enqueue(name=name)
    done, again, other = state.fetch(3)
    assert state.complete(done) == [1] and state.complete(other) == [1]
    assert state.postpone(again) == 1
    state.dead()
    last = this_minute(state.client)

    whole = merge(read_minutes(state.client, QUEUE, first, last))  # type: ignore[arg-type]

    assert (whole.enqueued, whole.completed, whole.retried, whole.failed) == (4, 2, 1, 1)
    assert (whole.finished, whole.completed_runs.buckets, whole.failed_runs.buckets) == (3, {"b41": 2}, {"b41": 2})
    assert whole.error_rate == 0.5 and whole.runs("any").count == 4
    for runs in (whole.runs("completed"), whole.runs("failed"), whole.runs("any")):
        assert runs.mean_ms == 5.0 and runs.percentile_ms(0.95) == pytest.approx(5.0, rel=0.1)
    assert whole.mean_waited_ms is not None and whole.mean_waited_ms >= 0

    by_job = read_minutes(state.client, QUEUE, first, last, by_job=True)  # type: ignore[arg-type]
    confide = merge(row for row in by_job if row.job == "confide")
    assert (confide.job, confide.enqueued, confide.completed, confide.failed) == ("confide", None, 1, 0)
    assert {row.job for row in by_job} == {"confide", "work"}


def test_only_minutes_in_which_something_happened_are_read_in_their_order(client: redis.Redis) -> None:
    for minute in (1_009, 1_001, 999, 1_011):
        write(client, minute, completed=minute)

    found = read_minutes(client, QUEUE, 1_000, 1_010)  # type: ignore[arg-type]

    assert [(row.minute, row.completed) for row in found] == [(1_001, 1_001), (1_009, 1_009)]


def test_a_day_is_read_in_a_few_round_trips_and_queues_are_kept_apart(client: redis.Redis) -> None:
    for minute in range(5_000, 5_000 + 1_440):
        write(client, minute, completed=1, b10=1)
    before = client.info("stats")["total_reads_processed"]

    found = read_many_minutes(client, dict.fromkeys([QUEUE, "test:other"], range(5_000, 6_440)))  # type: ignore[arg-type]

    assert client.info("stats")["total_reads_processed"] - before < 100
    assert len(found[QUEUE]) == 1_440 and found["test:other"] == []
    assert merge(found[QUEUE]).completed == merge(found[QUEUE]).runs().count == 1_440


def test_a_damaged_minute_hides_no_other(client: redis.Redis) -> None:
    client.set(KEYS.minute(1_000), "no hash")
    client.hset(KEYS.minute(1_002), "work|completed", "many")
    write(client, 1_001, completed=3)

    assert [row.completed for row in read_minutes(client, QUEUE, 1_000, 1_002)] == [3]  # type: ignore[arg-type]


def test_counters_of_a_later_version_are_left_alone(client: redis.Redis) -> None:
    write(client, 1_000, completed=1, cheered=7)

    (found,) = read_minutes(client, QUEUE, 1_000, 1_000)  # type: ignore[arg-type]

    assert (found.completed, found.runs("any").buckets) == (1, {})


@pytest.mark.parametrize(("first", "last"), [(10, 9), (0, KEPT_MINUTES)])
def test_a_range_that_cannot_be_kept_is_refused(client: redis.Redis, first: int, last: int) -> None:
    with pytest.raises(InvalidRequest, match=r"last_minute: .* 1 to 1500"):
        read_minutes(client, QUEUE, first, last)  # type: ignore[arg-type]


def test_merging_adds_counts_and_sketches() -> None:
    slow = row(minute=7, completed=1, completed_runs=RunDurations(900.0, {bucket(900): 1}))
    fast = row(minute=5, enqueued=4, failed=3, failed_runs=RunDurations(30.0, {bucket(10): 3}))
    slower = row(minute=6, completed=2, completed_again=1, completed_runs=RunDurations(1_800.0, {bucket(900): 2}))

    merged = merge([slow, fast, slower])

    assert (merged.minute, merged.enqueued, merged.completed, merged.failed) == (5, 4, 3, 3)
    assert (merged.finished_first, merged.failed_first, merged.error_rate) == (5, 3, 0.5)
    assert merged.runs() == RunDurations(2_700.0, {bucket(900): 3})
    assert merged.runs("any").mean_ms == 455
    assert merged.runs("failed").percentile_ms(1.0) == pytest.approx(10, rel=ALPHA)
    assert merged.runs("any").percentile_ms(0.5) == pytest.approx(10, rel=ALPHA)
    assert merged.runs("any").percentile_ms(1.0) == pytest.approx(900, rel=ALPHA)


def test_runs_that_fail_at_once_do_not_make_the_p95_faster(state: State) -> None:
    """An outage: what completes takes a second, and twenty times as many runs fail in five milliseconds."""
    first = this_minute(state.client)
    for _ in range(21):
        state.enqueue()
    done, *failing = state.fetch(21)
    assert state.complete(done, duration_ms=1_000.0) == [1]
    for delivery in failing[:10]:
        assert state.postpone(delivery) == 1
    for delivery in failing[10:]:
        assert state.dead_letter(delivery) == 1

    whole = merge(read_minutes(state.client, QUEUE, first, this_minute(state.client)))  # type: ignore[arg-type]

    assert whole.runs().percentile_ms(0.95) == pytest.approx(1_000, rel=ALPHA)
    assert whole.runs("failed").percentile_ms(0.95) == pytest.approx(5, rel=0.1)
    assert whole.error_rate == pytest.approx(20 / 21)


def test_a_replayed_job_is_no_second_job(state: State) -> None:
    first = this_minute(state.client)
    job_id = state.dead()
    for end in (state.dead_letter, state.complete):
        state.run(scripts.replay_dead_letters(KEYS, actor="sara", failures=[(job_id, None)]))
        (delivery,) = state.fetch()
        assert end(delivery) in (1, [1])

    whole = merge(read_minutes(state.client, QUEUE, first, this_minute(state.client)))  # type: ignore[arg-type]

    assert (whole.completed, whole.failed, whole.completed_again, whole.failed_again) == (1, 2, 1, 1)
    assert (whole.finished_first, whole.failed_first) == (1, 1)


def test_merging_nothing_is_nothing() -> None:
    nothing = merge([])

    assert (nothing.enqueued, nothing.finished, nothing.runs("any").count) == (0, 0, 0)
    assert nothing.runs().mean_ms is None and nothing.mean_waited_ms is None and nothing.error_rate is None
    assert nothing.runs().percentile_ms(0.5) is None


def test_a_cluster_answers_the_same(cluster_client: Client) -> None:
    cluster_client.hset(KEYS.minute(1_000), mapping={"work|completed": 2, "enqueued": 5})
    cluster_client.set(KEYS.minute(1_001), "no hash")

    (found,) = read_minutes(cluster_client, QUEUE, 990, 1_010)

    assert (found.completed, found.enqueued) == (2, 5)
