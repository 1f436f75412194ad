"""Facts from a real Redis, in few round trips, with memory for minutes that are over."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import redis

from teknav_ops.alerts.facts import FactReader
from teknav_ops.metrics.live import StatsPublisher
from teknav_ops.metrics.minutes import MINUTE_MS
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.server_clock import ClockReader, read_clock, steady_seconds
from teknav_ops.runtime.leader import LeaderLease
from tests.alerts.conftest import rules
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.topology import TOPOLOGY
from tests.support.virtual_time import Clock

BURN = {"kind": "burn_rate", "severity": "page"}
P95 = {"kind": "p95_over_target", "window_minutes": 5}


def test_what_is_so_now_is_read(state: State, client: redis.Redis) -> None:
    reader = FactReader(client, TOPOLOGY, rules(P95))  # type: ignore[arg-type]
    state.dead()
    state.enqueue()
    (delivery,) = state.fetch()
    state.complete(delivery)
    waiting = state.enqueue()

    facts = reader.read().queues[QUEUE]

    assert (facts.waiting, facts.dlq, facts.workers, facts.is_paused) == (1, 1, 0, False)
    assert facts.oldest_waiting_age_ms is not None and facts.audit_backlog == len(state.actions())
    assert facts.stats_age_ms is None and facts.hours is None and facts.time_limit_ms == 60_000
    counts = facts.counts_of_last(2)
    assert (counts.completed, counts.failed, counts.runs("any").count) == (1, 1, 2)
    assert state.job(waiting)["state"] == "waiting"

    lease = LeaderLease(client, "scheduler")  # type: ignore[arg-type]
    lease.hold()
    StatsPublisher(client, TOPOLOGY, lease).publish()  # type: ignore[arg-type]
    age_ms = reader.read().queues[QUEUE].stats_age_ms
    assert age_ms is not None and age_ms < 60_000


def test_minutes_that_are_over_are_read_once_and_forgotten_when_no_rule_needs_them(client: redis.Redis) -> None:
    seconds, _ = client.time()
    now = int(seconds) * 1000 // MINUTE_MS
    for back in (3, 30, 300, 400):
        client.hset(KEYS.minute(now - back), mapping={"work|completed": 10, "work|failed": 1, "work|b41": 11})
    client.config_resetstat()
    reader = FactReader(client, TOPOLOGY, rules(BURN, P95))  # type: ignore[arg-type]
    first = reader.read().queues[QUEUE]
    assert first.counts_of_last(360).finished == 33
    assert first.counts_of_last(5).runs().count == 11
    # Sketches are kept as far back as a rule looks at them.
    assert first.counts_of_last(360).runs().count == 11

    for back in (3, 30, 300):
        client.delete(KEYS.minute(now - back))
    client.hincrby(KEYS.minute(now), "work|completed", 1)
    second = reader.read().queues[QUEUE]

    assert second.counts_of_last(360).finished == 34
    assert client.info("commandstats")["cmdstat_hgetall"]["calls"] < 800


def test_a_window_is_as_long_as_it_says(client: redis.Redis) -> None:
    seconds, _ = client.time()
    now = int(seconds) * 1000 // MINUTE_MS
    for back in range(13):
        client.hset(KEYS.minute(now - back), mapping={"work|failed": 6_000})
    inflow = {"kind": "dlq_inflow", "window_minutes": 10}
    facts = FactReader(client, TOPOLOGY, rules(inflow)).read().queues[QUEUE]  # type: ignore[arg-type]

    # A hundred each second; the minute that has begun holds all of its already.
    at_ms = now * MINUTE_MS + 15_000
    assert dataclasses.replace(facts, at_ms=at_ms).counts_of_last(10).failed == 10 * 6_000 + 4_500
    assert dataclasses.replace(facts, at_ms=at_ms).events_of_last(300).bad_count == 5 * 6_000 + 4_500  # type: ignore[union-attr]


def test_the_current_minute_is_read_again_each_time(state: State, client: redis.Redis) -> None:
    reader = FactReader(client, TOPOLOGY, rules(BURN))  # type: ignore[arg-type]
    for expected in (1, 2, 3):
        state.dead()
        assert reader.read().queues[QUEUE].counts_of_last(3).failed == expected


def test_a_damaged_queue_is_left_out_and_hides_no_other(client: redis.Redis) -> None:
    client.set(KEYS.waiting, json.dumps("not a list"))

    facts = FactReader(client, TOPOLOGY, rules(BURN)).read()  # type: ignore[arg-type]

    assert set(facts.queues) == {"test:other"}


def test_how_full_the_server_is_is_asked_where_a_rule_looks_at_it(own_server: RedisServer) -> None:
    client = own_server.client()
    client.config_set("maxmemory", 512 * 2**20)

    read = FactReader(client, TOPOLOGY, rules({"kind": "redis_memory"})).read()  # type: ignore[arg-type]
    memory = read.queues[QUEUE].redis_memory
    assert memory is not None and memory.server == client.info("server")["run_id"]
    assert memory.limit_bytes == 512 * 2**20 and 0 < memory.used_bytes < 512 * 2**20
    unasked = FactReader(client, TOPOLOGY, rules(BURN)).read().queues[QUEUE]  # type: ignore[arg-type]
    assert unasked.redis_memory is None


def test_jobs_that_are_stuck_are_found_where_a_rule_looks_for_them(state: State, client: redis.Redis) -> None:
    for _ in range(3):
        state.enqueue()
    held = state.fetch(3)
    for delivery in held[:2]:
        call = scripts.note_stuck(
            KEYS, worker="w:1", job_id=delivery.id, delivery=delivery.delivery, detail="in sleep", attempt="{}"
        )
        assert state.run(call)
    state.complete(held[1])

    facts = FactReader(client, TOPOLOGY, rules({"kind": "stuck_jobs"})).read()  # type: ignore[arg-type]

    assert [(job.job_id, job.worker) for job in facts.queues[QUEUE].stuck] == [(held[0].id, "w:1")]
    assert not facts.queues["test:other"].stuck
    assert not FactReader(client, TOPOLOGY, rules(BURN)).read().queues[QUEUE].stuck  # type: ignore[arg-type]


def test_a_jump_of_the_servers_clock_is_seen_once_and_known_to_those_who_look_later(
    client: redis.Redis, clock: Clock
) -> None:
    clock.set(time.time())
    reader = FactReader(client, TOPOLOGY, rules({"kind": "server_clock"}))  # type: ignore[arg-type]
    first = reader.read().clock
    assert first is not None and (first.jump_ms, abs(first.difference_ms) < 5_000) == (0, True)

    clock.set(time.time() - 3_600)
    after = reader.read().clock
    assert after is not None and abs(after.jump_ms + 3_600_000) < 5_000
    assert abs(after.difference_ms + 3_600_000) < 5_000 and after.jumped_at_ms == clock.now_ms
    clock.set(time.time() - 3_600)
    assert (reader.read().clock or first).jump_ms == after.jump_ms
    assert read_clock(client).jump_ms == after.jump_ms  # type: ignore[arg-type]
    assert FactReader(client, TOPOLOGY, rules(BURN)).read().clock is None  # type: ignore[arg-type]


@pytest.mark.parametrize(("took_seconds", "least_ms", "most_ms"), [(16, 0, 0), (0.2, 5_000, 6_000)])
def test_a_look_that_took_long_does_not_make_the_servers_clock_wrong(
    client: redis.Redis, took_seconds: float, least_ms: float, most_ms: float
) -> None:
    # By what a machine that stalls leaves open, it may be right.
    ahead, now = round(time.time() * 1000) + 6_000, steady_seconds()
    facts = ClockReader(client).look({QUEUE: ahead}, now - took_seconds / 2, now + took_seconds / 2)  # type: ignore[arg-type]
    assert facts is not None and least_ms <= facts.difference_ms <= most_ms
