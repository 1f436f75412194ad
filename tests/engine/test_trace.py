"""One trace from producer to attempt, as OpenTelemetry sees it."""

from __future__ import annotations

import redis
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from teknav_ops.engine.middleware.trace import Trace
from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import TransientError
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.producer import Producer
from tests.support.engine import Engine
from tests.support.topology import Work


def test_each_attempt_is_a_span_of_the_producers_trace(
    engine: Engine, producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    engine.broker.add_middleware(Trace())
    seen: list[str] = []

    def fail_once(job: Work, ctx: JobContext[None]) -> None:
        seen.append(ctx.trace_id)
        assert format(trace.get_current_span().get_span_context().trace_id, "032x") == ctx.trace_id
        if ctx.attempt == 1:
            raise TransientError("not yet")

    engine.behaviour = fail_once
    job_id = producer.enqueue("test:work", "work", {"number": 1}, trace_id="ab" * 16).job_id
    with engine.working():
        engine.broker.join("test:work", timeout=30_000)

    spans = exporter.get_finished_spans()
    assert [span.name for span in spans] == ["process work", "process work"]
    assert {format(span.context.trace_id, "032x") for span in spans} == {"ab" * 16} == set(seen)
    assert [span.status.is_ok for span in spans] == [False, True]
    assert {span.attributes["messaging.message.id"] for span in spans if span.attributes} == {job_id}
