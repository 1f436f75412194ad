"""Started: each run's beginning in the audit trail, where the settings ask for it."""

from __future__ import annotations

from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.engine.delivery import JobMessage


class Started(Middleware):
    """Notes are written in groups with the finishes, so a run waits for none. One that dies within
    milliseconds may have none; `job.lost` then tells of it.
    """

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """All guards have let the job pass: its processor begins."""
        if isinstance(broker, TekNavBroker) and isinstance(message, JobMessage):
            broker.finisher.note_started(message)
