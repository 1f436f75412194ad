"""Log context: every line logged while a job runs says which job."""

from __future__ import annotations

from typing import Any

import structlog
from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage

_NAMES = ("job_id", "queue", "job", "attempt", "delivery")


class LogContext(Middleware):
    """Binds the job's identity to the thread's log context."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Bind."""
        if isinstance(message, JobMessage):
            structlog.contextvars.bind_contextvars(
                job_id=message.delivery.id,
                queue=message.lane.queue.name,
                job=message.delivery.name,
                attempt=message.attempt,
                delivery=message.delivery.delivery,
            )

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Unbind."""
        structlog.contextvars.unbind_contextvars(*_NAMES)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Unbind."""
        structlog.contextvars.unbind_contextvars(*_NAMES)
