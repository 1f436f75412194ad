"""Trace: one W3C trace id from the producer through every attempt; spans when telemetry is on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.telemetry import processing, require_telemetry, start_telemetry


class Trace(Middleware):
    """Wraps each run in an OpenTelemetry span. The trace id itself stands in every log line anyway."""

    def __init__(self) -> None:
        # Found out now: what a hook raises later is swallowed.
        require_telemetry()
        self._end: Callable[[], None] = lambda: None
        self._open_spans: dict[str, AbstractContextManager[Any]] = {}

    def after_process_boot(self, broker: Broker) -> None:
        """Set up the SDK in each worker process, unless it has one."""
        self._end = start_telemetry("teknav-worker")

    def after_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Send the last spans."""
        self._end()

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
    attributes: dict[str, str | int] = {
        "messaging.system": "teknav",
        "messaging.destination.name": message.lane.queue.name,
        "messaging.message.id": message.message_id,
        "teknav.job": message.actor_name,
        "teknav.attempt": message.attempt,
    }
    span: AbstractContextManager[Any] = processing(
        message.actor_name, traceparent=message.options.get("traceparent", ""), attributes=attributes
    )
    return span
