"""One concern per file. The order, and the reason for it, is in `build_middleware`."""

from __future__ import annotations

from dramatiq.middleware import CurrentMessage, Middleware

from teknav_ops.engine.middleware.dead_letter import DeadLetters
from teknav_ops.engine.middleware.idempotency import EffectLedger, Idempotency
from teknav_ops.engine.middleware.lifecycle import Lifecycle
from teknav_ops.engine.middleware.log_context import LogContext
from teknav_ops.engine.middleware.payload_validation import PayloadValidation
from teknav_ops.engine.middleware.retry import Retries
from teknav_ops.engine.middleware.started import Started
from teknav_ops.engine.middleware.stuck_jobs import StuckJobs
from teknav_ops.engine.middleware.time_limit import TimeLimits
from teknav_ops.engine.middleware.trace import Trace
from teknav_ops.engine.stuck_jobs import Graces
from teknav_ops.payloads.codec import Cipher
from teknav_ops.topology import Topology


def build_middleware(
    topology: Topology,
    *,
    cipher: Cipher,
    effects: EffectLedger | None,
    telemetry: bool,
    audit_started: bool = False,
    graces: Graces | None = None,
) -> list[Middleware]:
    """The middleware in order. `before_*` runs down this list, `after_*` runs up it.

    Log context and trace stand first, so that all the others' lines carry them. Validation stands
    before idempotency, since a skipped job must be a valid one. After a run, retries decide before
    dead letters: what no retry took goes there.
    """
    time_limits = TimeLimits(topology)
    middleware: list[Middleware] = [
        Lifecycle(),
        LogContext(),
        *([Trace()] if telemetry else []),
        StuckJobs(time_limits, graces or Graces()),
        time_limits,
        DeadLetters(),
        Retries(topology),
        CurrentMessage(),
        PayloadValidation(topology, cipher),
    ]
    if effects is not None:
        middleware.append(Idempotency(effects))
    if audit_started:
        # Last: what a guard stops has not begun.
        middleware.append(Started())
    return middleware
