"""Prometheus's page: every metric, read from Redis when it is scraped."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

from teknav_ops.errors import InvalidRequest
from teknav_ops.metrics.catalogue import FAMILIES, UP
from teknav_ops.metrics.live import StatsPublisher
from teknav_ops.metrics.prometheus import MetricsServer, render_metrics
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.runtime.leader import LeaderLease
from tests.support.completed_jobs import complete_jobs
from tests.support.ports import free_port, listen, port_of
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, State
from tests.support.topology import TOPOLOGY
from tests.support.waiting import until

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parse(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scrape(client: redis.Redis | Client, **options: Path) -> Samples:
    return parse(render_metrics(client, TOPOLOGY, **options))  # type: ignore[arg-type]


def of(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, tuple(sorted(labels.items()))))


def test_gauges_say_how_each_queue_is_at_this_instant(client: redis.Redis, state: State) -> None:
    state.enqueue()
    state.enqueue(delay_ms=60_000)
    state.dead()
    state.enqueue()
    state.enqueue()
    state.fetch()

    seen = scrape(client)
    states = {name: of(seen, "teknav_jobs", queue="test:work", state=name) for name in
              ("waiting", "active", "delayed", "failed", "completed", "paused")}  # fmt: skip
    assert states == {"waiting": 2, "active": 1, "delayed": 1, "failed": 1, "completed": 0, "paused": 0}
    assert of(seen, "teknav_dead_letters", queue="test:work") == 1
    assert of(seen, "teknav_queue_paused", queue="test:work") == 0
    assert of(seen, "teknav_audit_backlog_entries", queue="test:work") == client.xlen(KEYS.audit)
    assert of(seen, "teknav_jobs", queue="test:other", state="waiting") == 0
    assert of(seen, "teknav_up") == 1

    state.run(scripts.set_control(KEYS, actor="sara", action="queue.paused", fields={"paused": "1"}))
    client.hset(KEYS.job(client.lrange(KEYS.waiting, 0, 0)[0]), "ready_at_ms", 1)
    seen = scrape(client)
    assert of(seen, "teknav_jobs", queue="test:work", state="paused") == 2
    assert of(seen, "teknav_jobs", queue="test:work", state="waiting") == 0
    assert of(seen, "teknav_queue_paused", queue="test:work") == 1
    assert (of(seen, "teknav_oldest_waiting_age_seconds", queue="test:work") or 0) > 1e9


def test_counters_never_fall_whatever_is_kept(client: redis.Redis, state: State) -> None:
    before = scrape(client)
    assert of(before, "teknav_jobs_completed_total", queue="test:work", job="work") == 0

    complete_jobs(client, 300)
    state.dead()
    state.enqueue()
    state.postpone(*state.fetch())
    state.enqueue()
    state.postpone(*state.fetch(), uses_attempt=False)
    state.enqueue()
    state.fetch()
    state.expire_leases()
    state.run(scripts.reclaim(KEYS, count=10, lost_limit=3, lease_ms=1_000, worker="w:2"))
    client.delete(*client.scan_iter(KEYS.minute_family + "*"))
    seen = scrape(client)

    work = {"queue": "test:work", "job": "work"}
    counted = {name: of(seen, f"teknav_jobs_{name}_total", **work) for name in
               ("completed", "failed", "retried", "snoozed", "lost")}  # fmt: skip
    assert counted == {"completed": 300, "failed": 1, "retried": 1, "snoozed": 1, "lost": 1}
    assert of(seen, "teknav_jobs_enqueued_total", queue="test:work") == 304
    assert (of(seen, "teknav_jobs", queue="test:work", state="completed") or 0) < 300
    assert of(seen, "teknav_job_wait_seconds_count", **work) == 302


def test_durations_are_a_histogram_that_adds_up(client: redis.Redis) -> None:
    complete_jobs(client, 70)

    seen = scrape(client)
    work = {"queue": "test:work", "job": "work", "outcome": "completed"}
    assert of(seen, "teknav_job_duration_seconds_count", **work | {"outcome": "failed"}) == 0
    assert of(seen, "teknav_job_duration_seconds_count", **work) == 70
    assert of(seen, "teknav_job_duration_seconds_sum", **work) == pytest.approx(0.35)
    bounds = sorted(
        (float(dict(labels)["le"]), value) for (name, labels), value in seen.items()
        if name == "teknav_job_duration_seconds_bucket" and dict(labels).items() >= work.items()
    )  # fmt: skip
    counts = [count for _, count in bounds]
    assert counts == sorted(counts) and bounds[-1] == (float("inf"), 70)
    # Each took 5 ms, in a bucket whose middle is a little more.
    assert dict(bounds)[0.0025 if 0.0025 in dict(bounds) else 0.005] == 0 and dict(bounds)[0.01] == 70


def test_who_leads_and_how_old_stats_and_snapshots_are(client: redis.Redis, tmp_path: Path) -> None:
    nothing = scrape(client, snapshot_root=tmp_path)
    assert of(nothing, "teknav_scheduler_leading") == 0
    assert of(nothing, "teknav_stats_age_seconds", queue="test:work") is None
    assert of(nothing, "teknav_snapshot_age_seconds") is None

    lease = LeaderLease(client, "scheduler")  # type: ignore[arg-type]
    lease.hold()
    StatsPublisher(client, TOPOLOGY, lease).publish()  # type: ignore[arg-type]
    (tmp_path / "audit-00000001.duckdb").touch()
    seen = scrape(client, snapshot_root=tmp_path)

    assert (of(seen, "teknav_scheduler_leading"), of(seen, "teknav_scheduler_term")) == (1, 1)
    assert 0 <= (of(seen, "teknav_stats_age_seconds", queue="test:work") or 0) < 60
    assert 0 <= (of(seen, "teknav_snapshot_age_seconds") or 0) < 60


def test_names_carry_their_units_and_help(client: redis.Redis) -> None:
    families = {family.name: family for family in text_string_to_metric_families(render_metrics(client, TOPOLOGY))}  # type: ignore[arg-type]

    assert set(families) == {family.name for family in (UP, *FAMILIES)}
    for family in FAMILIES:
        assert families[family.name].documentation.endswith("."), family.name
        assert families[family.name].type == family.kind
        if family.kind in ("histogram", "summary") or "_age_" in family.name or "_lag_" in family.name:
            assert family.name.endswith("_seconds")


def test_a_damaged_queue_hides_no_other(client: redis.Redis) -> None:
    complete_jobs(client, 3, queue="test:other", job="other")
    client.set(KEYS.totals, "not a hash")

    seen = scrape(client)
    assert of(seen, "teknav_jobs_completed_total", queue="test:other", job="other") == 3
    assert of(seen, "teknav_up") == 1 and of(seen, "teknav_dead_letters", queue="test:work") is None


def test_a_cluster_is_read_too(cluster_client: Client) -> None:
    complete_jobs(cluster_client, 3)
    assert of(scrape(cluster_client), "teknav_jobs_completed_total", queue="test:work", job="work") == 3


@pytest.fixture
def served(own_server: RedisServer, tmp_path: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    server = MetricsServer(address, own_server.url, TOPOLOGY, snapshot_root=tmp_path)
    yield f"http://{address}/metrics"
    server.close()


def fetch(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.status == 200
        return parse(answer.read().decode())


def test_it_is_served_and_says_so_when_redis_is_away(own_server: RedisServer, served: str) -> None:
    with own_server.client() as client:
        complete_jobs(client, 3)
    assert of(fetch(served), "teknav_jobs_completed_total", queue="test:work", job="work") == 3

    own_server.kill()
    seen = _eventually(served, up=0)
    assert seen == {("teknav_up", ()): 0}

    own_server.start()
    assert of(_eventually(served, up=1), "teknav_jobs_completed_total", queue="test:work", job="work") == 3


def test_a_redis_that_does_not_answer_does_not_hang_the_scrape(own_server: RedisServer, served: str) -> None:
    own_server.freeze()
    begun = time.monotonic()
    seen = fetch(served)
    seconds = time.monotonic() - begun
    own_server.thaw()

    assert seen == {("teknav_up", ()): 0}
    # Prometheus waits ten seconds, unless told otherwise.
    assert seconds < 10


def test_an_address_that_is_taken_is_named(tmp_path: Path) -> None:
    with listen() as taken:
        address = f"127.0.0.1:{port_of(taken)}"
        with pytest.raises(InvalidRequest, match=f"metrics_address: cannot listen on {address}"):
            MetricsServer(address, "redis://127.0.0.1:1", TOPOLOGY, snapshot_root=tmp_path)


def test_a_client_made_for_it_is_closed_with_it(own_server: RedisServer, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    MetricsServer(address, own_server.url, TOPOLOGY, snapshot_root=tmp_path).close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://{address}/metrics", timeout=5)
    assert connect(own_server.url).ping()


def _eventually(url: str, *, up: float) -> Samples:
    return until(lambda: of(seen := fetch(url), "teknav_up") == up and seen, what=f"teknav_up {up}")
