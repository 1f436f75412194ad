"""OpenTelemetry: one place that sets the SDK up, and the spans that carry a trace from the producer to each attempt.

The packages are imported only where telemetry is on. An application that has set up an SDK of its own keeps it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from teknav_ops.errors import InvalidRequest

_NAME: Final = "teknav_ops"
#: A process that ends waits no longer than this for a collector that does not answer.
_FLUSH_MS: Final = 5_000


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where a job's trace begins, as its record carries it (W3C trace context)."""

    trace_id: str
    traceparent: str


def require_telemetry() -> None:
    """Raises InvalidRequest when the packages are missing."""
    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk  # noqa: F401
    except ModuleNotFoundError as error:
        raise InvalidRequest(
            f"{error.name} is missing: pip install 'teknav-ops[telemetry]', or unset TEKNAV_TELEMETRY"
        ) from error


def new_origin(trace_id: str) -> Origin:
    """A place in a trace of which no span is recorded."""
    return Origin(trace_id, f"00-{trace_id}-{secrets.token_hex(8)}-01")


def start_telemetry(service: str) -> Callable[[], None]:
    """Send this process's spans over OTLP; answers what to call before it ends.

    OTEL_EXPORTER_OTLP_*, OTEL_BSP_*, OTEL_TRACES_SAMPLER, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME and
    OTEL_SDK_DISABLED are honoured; `service` is the name where none is set.

    Raises:
        InvalidRequest: the extra is not installed.
    """
    require_telemetry()
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return lambda: None
    provider = TracerProvider(resource=_resource(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)

    def end() -> None:
        provider.force_flush(_FLUSH_MS)
        provider.shutdown()

    return end


def start_meter(service: str) -> tuple[Any, Callable[[], None]]:
    """A meter whose instruments are exported over OTLP, and what to call before the process ends.

    OTEL_METRIC_EXPORT_INTERVAL and the variables of `start_telemetry` are honoured.

    Raises:
        InvalidRequest: the extra is not installed.
    """
    require_telemetry()
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    provider = MeterProvider([reader], resource=_resource(service))
    return provider.get_meter(_NAME), lambda: provider.shutdown(_FLUSH_MS)


@contextlib.contextmanager
def sending(queue: str, job: str, *, trace_id: str | None = None) -> Iterator[Origin | None]:
    """A producer's span around an enqueue, of the given trace, else of the caller's; the jobs are its children.

    None where the application has set up no SDK.
    """
    from opentelemetry import trace

    attributes = {"messaging.system": "teknav", "messaging.destination.name": queue, "teknav.job": job}
    span = trace.get_tracer(_NAME).start_as_current_span(
        f"send {job}", context=_context_of(trace_id), kind=trace.SpanKind.PRODUCER, attributes=attributes
    )
    with span as open_span:
        place = open_span.get_span_context()
        trace_of_span = f"{place.trace_id:032x}"
        traceparent = f"00-{trace_of_span}-{place.span_id:016x}-{place.trace_flags:02x}"
        yield Origin(trace_of_span, traceparent) if place.is_valid else None


def _context_of(trace_id: str | None) -> Any:
    """None, for the caller's own context; or, for a trace that the caller is not in, a context of that trace."""
    from opentelemetry import trace

    current = trace.get_current_span().get_span_context()
    if trace_id is None or current.trace_id == int(trace_id, 16):
        return None
    parent = trace.SpanContext(
        int(trace_id, 16), secrets.randbits(64) or 1, is_remote=True,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )  # fmt: skip
    return trace.set_span_in_context(trace.NonRecordingSpan(parent))


def processing(job: str, *, traceparent: str, attributes: Mapping[str, str | int]) -> Any:
    """A consumer's span around an attempt, a child of the producer's; a context manager."""
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract({"traceparent": traceparent})
    return trace.get_tracer(_NAME).start_as_current_span(
        f"process {job}", context=parent, kind=trace.SpanKind.CONSUMER, attributes=attributes
    )


def _resource(service: str) -> Any:
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource

    told = Resource.create()
    is_named = not str(told.attributes[SERVICE_NAME]).startswith("unknown_service")
    return told if is_named else Resource.create({SERVICE_NAME: service})
