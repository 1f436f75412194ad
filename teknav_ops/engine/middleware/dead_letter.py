"""Dead letters: what no retry took is given up, and kept for an operator."""

from __future__ import annotations

from typing import Any

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.guard import cause_of
from teknav_ops.engine.outcome import GiveUp


class DeadLetters(Middleware):
    """Stands before Retries in the list, so that it decides after it."""

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Give up a failed job that is not to be retried."""
        if exception is not None and isinstance(message, JobMessage) and message.outcome is None:
            message.outcome = GiveUp(cause_of(exception))
            message.fail()
