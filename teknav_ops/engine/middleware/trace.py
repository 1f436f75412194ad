"""Trace: one W3C trace id from the producer through every attempt; spans when telemetry is on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage


class Trace(Middleware):
    """Wraps each run in an OpenTelemetry span. The trace id itself stands in every log line anyway."""

    def __init__(self) -> None:
        self._open_spans: dict[str, AbstractContextManager[Any]] = {}

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Open the span."""
        if isinstance(message, JobMessage):
            span = _span(message)
            span.__enter__()
            self._open_spans[message.message_id] = span

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Close the span, with the failure if there was one."""
        span = self._open_spans.pop(message.message_id, None)
        if span is not None:
            span.__exit__(type(exception) if exception else None, exception, None)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Close the span."""
        self.after_process_message(broker, message)


def _span(message: JobMessage) -> AbstractContextManager[Any]:
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    parent = TraceContextTextMapPropagator().extract({"traceparent": message.options.get("traceparent", "")})
    attributes: dict[str, str | int] = {
        "messaging.system": "teknav",
        "messaging.destination.name": message.lane.queue.name,
        "messaging.message.id": message.message_id,
        "teknav.job": message.actor_name,
        "teknav.attempt": message.attempt,
    }
    tracer = trace.get_tracer("teknav_ops")
    return tracer.start_as_current_span(
        f"process {message.actor_name}", context=parent, kind=trace.SpanKind.CONSUMER, attributes=attributes
    )
