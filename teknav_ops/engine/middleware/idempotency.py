"""Idempotency: a job handed out again whose effect is recorded is not run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from dramatiq.middleware import SkipMessage

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.guard import Guard
from teknav_ops.engine.outcome import Complete
from teknav_ops.engine.result import result_text

log = structlog.get_logger("teknav.engine")


class EffectLedger(Protocol):
    """Where processors record, in one transaction with their effect, that it happened."""

    def find(self, job_id: str) -> Mapping[str, Any] | None:
        """The recorded summary of the job's effect, or None."""

    def require_writes(self) -> None:
        """Raises StorageUnavailable while nothing could be recorded."""


class Idempotency(Guard):
    """Looks only at jobs handed out before: the first delivery costs nothing."""

    def __init__(self, effects: EffectLedger) -> None:
        self._effects = effects

    def check(self, message: JobMessage) -> None:
        """Skip the job and complete it with the recorded summary.

        One without is begun again only where its effect could be recorded: else a job whose database can be read and
        not written (a standby, a full disk) would have its effect again and again.
        """
        if message.delivery.delivery == 1:
            return
        summary = self._effects.find(message.message_id)
        if summary is not None:
            message.outcome = Complete(result_text(dict(summary)))
            log.info("job.effect_recorded", job_id=message.message_id)
            raise SkipMessage("the effect of this job is recorded")
        self._effects.require_writes()
