"""OpenTelemetry against a real OTLP receiver: one trace from producer to attempt, and the metrics of the leader."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from teknav_ops.metrics.catalogue import FAMILIES, UP
from teknav_ops.metrics.reading import Reader
from teknav_ops.metrics.telemetry import observe
from teknav_ops.redis_state.connection import connect
from tests.conftest import SECRET_KEY
from tests.support.completed_jobs import complete_jobs
from tests.support.databases import migrate
from tests.support.otlp_receiver import OtlpReceiver, attributes, otlp_receiver, points
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.topology import TOPOLOGY
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.workers import Workers

ROOT = Path(__file__).parents[2]
PRODUCER = """
import os
from opentelemetry import trace
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.telemetry import start_telemetry
from tests.support.topology import TOPOLOGY

client = connect(os.environ["TEKNAV_REDIS_URL"])
producer = Producer(client, cipher=Cipher([]), topology=TOPOLOGY, telemetry=True)
producer.enqueue("test:work", "work", {"number": 0})  # before there is an SDK
end = start_telemetry("teknav-producer")
with trace.get_tracer("site").start_as_current_span("upload"):
    producer.enqueue("test:work", "work", {"number": 1, "fail_times": 1})
producer.enqueue("test:work", "work", {"number": 2}, trace_id="ab" * 16)
producer.enqueue_many("test:work", "work", [{"number": 3}, {"number": 4}])
end()
"""


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with otlp_receiver() as listening:
        yield listening


def environment(receiver: OtlpReceiver, redis_url: str, folder: Path) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("TEKNAV_", "OTEL_"))}
    return {
        **plain,
        "TEKNAV_REDIS_URL": redis_url,
        "TEKNAV_DATA_DIR": str(folder),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
        "TEKNAV_TELEMETRY": "true",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        # Nothing is sent before the end unless the processes send it on their way out.
        "OTEL_BSP_SCHEDULE_DELAY": "600000",
    }


@pytest.mark.timeout(600)
def test_producer_and_attempts_share_a_trace_and_the_last_spans_are_sent(
    receiver: OtlpReceiver, redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    told = environment(receiver, redis_server.url, tmp_path)
    subprocess.run([sys.executable, "-c", PRODUCER], env=told, cwd=ROOT, check=True, timeout=240)
    workers = Workers(redis_server.url, tmp_path, SECRET_KEY, lease_seconds=30)
    workers._environment |= told
    master = workers.start()
    until(lambda: len(workers.recorded()) == 5, seconds=60, what="the jobs")
    master.terminate()
    assert master.wait(60) == 0, workers.logs()

    def trace_ids(name: str) -> list[str]:
        return [span.trace_id.hex() for _, span in receiver.named(name)]

    (upload,) = trace_ids("upload")
    sent = receiver.named("send work")
    assert {service for service, _ in sent} == {"teknav-producer"}
    assert len(sent) == 3 and trace_ids("send work")[:2] == [upload, "ab" * 16]
    processed = receiver.named("process work")
    assert {service for service, _ in processed} == {"teknav-worker"}
    # Two attempts at the one that fails once; and one from before there was an SDK, in a trace of its own.
    by_trace = {trace: trace_ids("process work").count(trace) for trace in trace_ids("process work")}
    assert by_trace[upload] == 2 and by_trace["ab" * 16] == 1 and by_trace[trace_ids("send work")[2]] == 2
    assert len(by_trace) == 4 and len(processed) == 6
    parents = {span.span_id for _, span in sent}
    assert sum(span.parent_span_id in parents for _, span in processed) == 5
    facts = attributes(processed[0][1].attributes)
    assert facts["messaging.destination.name"] == "test:work" and facts["teknav.job"] == "work"
    assert {span.kind for _, span in sent} == {4} and {span.kind for _, span in processed} == {5}


@pytest.mark.timeout(600)
def test_the_leading_scheduler_exports_the_metrics_that_it_serves(
    receiver: OtlpReceiver, redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    complete_jobs(client, 7, queue="media:optimize", job="optimize-image")
    address = f"127.0.0.1:{free_port()}"
    told = environment(receiver, redis_server.url, tmp_path)
    told |= {
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "TEKNAV_METRICS_ADDRESS": address,
        "OTEL_SERVICE_NAME": "night-shift",
    }
    log = (tmp_path / "scheduler.log").open("wb")
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "teknav_ops.runtime.scheduler"], env=told, cwd=ROOT, stdout=log, stderr=log
    )
    try:
        until(lambda: _latest(receiver, "teknav_jobs_completed"), seconds=240, what="metrics")
        media = (("job", "optimize-image"), ("queue", "media:optimize"))
        until(lambda: points(_latest(receiver, "teknav_jobs_completed"))[media] == 7)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=ANSWER_SECONDS) as answer:
            page = answer.read().decode()
        assert 'teknav_jobs_completed_total{job="optimize-image",queue="media:optimize"} 7.0' in page
        assert "teknav_scheduler_leading 1.0" in page

        until(
            lambda: {UP.name, "teknav_job_duration_seconds_bucket"} <= {metric.name for _, metric in receiver.metrics}
        )
        assert {service for service, _ in receiver.metrics} == {"night-shift"}
        assert _latest(receiver, "teknav_jobs_completed").sum.is_monotonic
        buckets = points(_latest(receiver, "teknav_job_duration_seconds_bucket"))
        assert buckets[("job", "optimize-image"), ("le", "+Inf"), ("outcome", "completed"), media[1]] == 7
        scheduler.terminate()
        assert scheduler.wait(240) == 0
    finally:
        scheduler.kill()
        scheduler.wait()
        log.close()


def _latest(receiver: OtlpReceiver, name: str) -> Any:
    return next((metric for _, metric in reversed(receiver.metrics) if metric.name == name), None)


def test_a_standby_and_a_lost_redis_export_what_they_know(client: redis.Redis, own_server: RedisServer) -> None:
    leads = [True]
    memory = InMemoryMetricReader()
    provider = MeterProvider([memory])
    impatient = connect(own_server.url, timeout_seconds=1, retry_count=0)
    reader = Reader(impatient, TOPOLOGY, fresh_seconds=0.2)
    observe(provider.get_meter("test"), reader, lambda: leads[0])

    def names() -> set[str]:
        data = memory.get_metrics_data()
        return {m.name for r in data.resource_metrics for s in r.scope_metrics for m in s.metrics} if data else set()

    parts = {"histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
    expected = {f.name + suffix for f in FAMILIES for suffix in parts.get(f.kind, ("",))} | {UP.name}
    assert names() == expected - {"teknav_stats_age_seconds", "teknav_snapshot_age_seconds"}
    leads[0] = False
    assert names() == set()
    leads[0] = True
    own_server.kill()
    until(lambda: names() == {UP.name})
    provider.shutdown()


@pytest.mark.parametrize(
    ("package", "statement"),
    [
        ("opentelemetry.sdk", "from teknav_ops.telemetry import require_telemetry; require_telemetry()"),
        ("prometheus_client", "import teknav_ops.metrics.prometheus"),
    ],
)
def test_a_missing_extra_is_named(package: str, statement: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None; {statement}"
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    extra = "telemetry" if "telemetry" in package else "metrics"
    assert "InvalidRequest" in answer.stderr and f"pip install 'teknav-ops[{extra}]'" in answer.stderr


def test_nothing_needs_the_extras_where_they_are_not_asked_for() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = sys.modules['prometheus_client'] = None;"
        "import teknav_ops.producer, teknav_ops.engine.assembly, teknav_ops.runtime.scheduler;"
        "from teknav_ops.cli.commands import PLACES, LazyCommands; list(LazyCommands(PLACES).values())"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_a_scheduler_whose_address_is_taken_says_so_and_ends(redis_server: RedisServer, tmp_path: Path) -> None:
    environment = {
        **os.environ, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_METRICS_ADDRESS": f"127.0.0.1:{redis_server.port}",
    }  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-m", "teknav_ops.runtime.scheduler"], env=environment, cwd=ROOT, capture_output=True,
        text=True, timeout=240, check=False,
    )  # fmt: skip
    assert answer.returncode == 1 and "error: metrics_address: cannot listen on" in answer.stderr
