"""What a rule sees of a queue, and how the rules about the machinery see it."""

from __future__ import annotations

import dataclasses
from typing import Literal

from teknav_ops.alerts.facts import Facts, QueueFacts
from teknav_ops.alerts.rules import AuditChanged, ClockOff, StuckJobs
from teknav_ops.audit.chain.watch import STALE_SECONDS

State = Literal["firing", "clear", "unknown"]


@dataclasses.dataclass(frozen=True, slots=True)
class Measured:
    """What a rule saw: value against limit, and the sentence for a person."""

    value: float | None
    limit: float
    unit: str
    message: str
    judged: State | None = None

    @property
    def state(self) -> State:
        """As judged, or by comparing: nothing to measure is clear."""
        if self.judged is not None:
            return self.judged
        return "firing" if self.value is not None and self.value > self.limit else "clear"


def stuck_jobs(rule: StuckJobs, queue: QueueFacts) -> Measured:
    """How many go on past their time limit."""
    if not queue.stuck:
        return Measured(0, rule.limit_count, "jobs", "no job is stuck")
    first = queue.stuck[0]
    message = (
        f"{len(queue.stuck):,} running past their time limit and not to be interrupted (limit {rule.limit_count:,}), "
        f"such as {first.name} {first.job_id} on {first.worker}"
    )
    return Measured(len(queue.stuck), rule.limit_count, "jobs", message)


def server_clock(rule: ClockOff, queue: QueueFacts, facts: Facts) -> Measured:
    """How far the server\'s clock was set lately, or is from ours; told of once."""
    clock, limit = facts.clock, rule.limit_seconds
    if clock is None:
        return Measured(None, limit, "s", "the server's clock could not be read", "unknown")
    speaker = next(name for name in facts.queues if rule.watches(name))
    if speaker != queue.queue:
        return Measured(None, limit, "s", f"the server's clock is told of at {speaker}")
    since_ms = facts.at_ms - clock.jumped_at_ms
    jump_seconds = clock.jump_ms / 1000 if since_ms < rule.window_minutes * 60_000 else 0.0
    difference_seconds = clock.difference_ms / 1000
    if abs(jump_seconds) > limit:
        message = f"the server's clock was set {_way(jump_seconds, 'forward', 'back')}, {span(since_ms / 1000)} ago"
    else:
        message = f"the server's clock is {_way(difference_seconds, 'ahead of', 'behind')} the scheduler's machine"
    value = max(abs(jump_seconds), abs(difference_seconds))
    return Measured(value, limit, "s", f"{message} (limit {span(limit)})")


def audit_changed(rule: AuditChanged, queue: QueueFacts, facts: Facts) -> Measured:
    """Whether the audit trail is as it was written; told of once."""
    verdict = facts.chain
    if verdict is None:
        return Measured(None, 0, "faults", "nobody has verified the audit trail yet", "unknown")
    speaker = next(name for name in facts.queues if rule.watches(name))
    if speaker != queue.queue:
        return Measured(None, 0, "faults", f"the audit trail is told of at {speaker}")
    if not verdict.fault and facts.at_ms / 1000 - verdict.at.timestamp() > STALE_SECONDS:
        at = f"{verdict.at:%Y-%m-%dT%H:%M}Z"
        return Measured(None, 0, "faults", f"nobody has verified the audit trail since {at}", "unknown")
    message = f"the audit trail is not as it was written: {verdict.fault}" if verdict.fault else "as it was written"
    return Measured(1 if verdict.fault else 0, 0, "faults", message)


def _way(seconds: float, on: str, back: str) -> str:
    return f"{span(abs(seconds))} {on if seconds >= 0 else back}"


def span(seconds: float) -> str:
    """`95 s`, `12 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"
