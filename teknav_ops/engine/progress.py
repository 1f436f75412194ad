"""Progress of a running job, written at most a few times a second."""

from __future__ import annotations

import time
from typing import Final

import structlog

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.payloads.plain import printable
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.redis_state.scripts import ScriptRunner

log = structlog.get_logger("teknav.engine")

_LEAST_INTERVAL_SECONDS: Final = 0.25


class ProgressReporter:
    """Called as `report_progress(fraction, note)`; an outage only costs the report, never the job."""

    def __init__(self, runner: ScriptRunner, message: JobMessage) -> None:
        self._runner = runner
        self._message = message
        self._reported_at = 0.0

    def __call__(self, fraction: float, note: str) -> None:
        """Record the fraction done (0 to 1) and a short note."""
        now = time.monotonic()
        if now - self._reported_at < _LEAST_INTERVAL_SECONDS:
            return
        self._reported_at = now
        call = scripts.report_progress(
            self._message.lane.keys,
            job_id=self._message.delivery.id,
            delivery=self._message.delivery.delivery,
            fraction=min(1.0, max(0.0, fraction)),
            note=printable(note)[:200],
        )
        try:
            self._runner.run(call)
        except OUTAGE_ERRORS as error:
            log.debug("progress.unreported", error=str(error))
