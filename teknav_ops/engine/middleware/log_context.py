"""Log context: every line logged while a job runs says which job, and none says its secrets."""

from __future__ import annotations

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.logs import current_job


class LogContext(Middleware):
    """Names the thread's job to the log chain: one variable, since this is done for every job."""

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """Name it. Its secrets are known once the payload is opened."""
        if isinstance(message, JobMessage):
            current_job.set(message)

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """Forget it."""
        current_job.set(None)

    def after_ack(self, broker: Broker, message: MessageProxy) -> None:
        """Forget it only now: Dramatiq logs a failure after `after_process_message`, with the secrets in its text."""
        current_job.set(None)

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        """Forget it."""
        current_job.set(None)
