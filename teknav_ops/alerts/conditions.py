"""Rules times facts: which conditions hold at this instant. Pure; asks nobody."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, assert_never

from teknav_ops.alerts.facts import Facts, QueueFacts
from teknav_ops.alerts.measures import Measured, State, audit_changed, server_clock, span, stuck_jobs
from teknav_ops.alerts.rules import (
    AuditChanged,
    AuditLagging,
    BurnRate,
    ClockOff,
    DlqInflow,
    NoHeartbeat,
    OldestWaitingAge,
    P95OverTarget,
    RedisMemory,
    Rule,
    Severity,
    StatsStale,
    StuckJobs,
)
from teknav_ops.triage.burn_rate import WORKBOOK_WINDOWS, BurnFinding, assess

_P95: Final = 0.95


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One rule looked at on one queue. `value` is None where there is nothing to measure.

    An unknown state changes nothing: what could not be looked at is neither broken nor mended.
    """

    rule: str
    kind: str
    severity: Severity
    queue: str
    state: State
    value: float | None
    limit: float
    unit: str
    message: str
    for_seconds: int
    clear_seconds: int

    @property
    def key(self) -> str:
        """What there is at most one open alert of."""
        return condition_key(self.rule, self.queue)

    @property
    def is_firing(self) -> bool:
        """Whether the condition holds."""
        return self.state == "firing"


def condition_key(rule: str, queue: str) -> str:
    """`<rule>|<queue>`: rules' names hold no bar."""
    return f"{rule}|{queue}"


def evaluate(rules: Iterable[Rule], facts: Facts) -> list[Condition]:
    """Every rule on every queue it watches and of which there are facts."""
    return [
        _condition(rule, queue, facts)
        for rule in rules
        for queue in facts.queues.values()
        if rule.watches(queue.queue)
    ]  # fmt: skip


def _condition(rule: Rule, queue: QueueFacts, facts: Facts) -> Condition:
    measured = _measure(rule, queue, facts)
    return Condition(
        rule=rule.name, kind=rule.kind, severity=rule.severity, queue=queue.queue, state=measured.state,
        value=measured.value, limit=measured.limit, unit=measured.unit, message=f"{queue.queue}: {measured.message}",
        for_seconds=rule.for_seconds, clear_seconds=rule.clear_seconds,
    )  # fmt: skip


def _measure(rule: Rule, queue: QueueFacts, facts: Facts) -> Measured:
    match rule:
        case DlqInflow():
            return _dlq_inflow(rule, queue)
        case OldestWaitingAge():
            return _oldest_waiting_age(rule, queue)
        case P95OverTarget():
            return _p95_over_target(rule, queue)
        case BurnRate():
            return _burn_rate(rule, queue)
        case AuditLagging():
            return _audit_lag(rule, queue)
        case NoHeartbeat():
            return _no_heartbeat(queue)
        case StuckJobs():
            return stuck_jobs(rule, queue)
        case RedisMemory():
            return _redis_memory(rule, queue, facts)
        case ClockOff():
            return server_clock(rule, queue, facts)
        case AuditChanged():
            return audit_changed(rule, queue, facts)
        case StatsStale():
            return _stats_stale(rule, queue)
    assert_never(rule)


def _dlq_inflow(rule: DlqInflow, queue: QueueFacts) -> Measured:
    count = queue.counts_of_last(rule.window_minutes).failed
    message = (
        f"{count:,} new dead letters in {rule.window_minutes} min (limit {rule.limit_count:,}), {queue.dlq:,} in all"
    )
    return Measured(count, rule.limit_count, "jobs", message)


def _oldest_waiting_age(rule: OldestWaitingAge, queue: QueueFacts) -> Measured:
    if queue.oldest_waiting_age_ms is None or (queue.is_paused and not rule.counts_paused):
        paused = ", paused" if queue.is_paused else ""
        return Measured(None, rule.limit_seconds, "s", f"{queue.waiting:,} jobs wait{paused}")
    age_seconds = queue.oldest_waiting_age_ms / 1000
    paused = "; the queue is paused" if queue.is_paused else ""
    # What fell due waits, though nobody has fetched since.
    oldest = f"oldest of {queue.waiting:,} waiting jobs" if queue.waiting else "oldest job that fell due"
    message = f"the {oldest} has waited {span(age_seconds)} (limit {span(rule.limit_seconds)}){paused}"
    return Measured(age_seconds, rule.limit_seconds, "s", message)


def _p95_over_target(rule: P95OverTarget, queue: QueueFacts) -> Measured:
    target_ms = rule.target_for(queue.time_limit_ms)
    runs = queue.counts_of_last(rule.window_minutes).runs("completed")
    p95_ms = runs.percentile_ms(_P95)
    if p95_ms is None or runs.count < rule.least_run_count:
        message = f"{runs.count:,} runs completed in {rule.window_minutes} min, too few for a p95"
        return Measured(None, target_ms, "ms", message)
    message = (
        f"p95 of completed runs is {p95_ms:,.0f} ms (target {target_ms:,.0f} ms), "
        f"{runs.count:,} runs in {rule.window_minutes} min"
    )
    return Measured(p95_ms, target_ms, "ms", message)


def _burn_rate(rule: BurnRate, queue: QueueFacts) -> Measured:
    windows = [window for window in WORKBOOK_WINDOWS if window.severity == rule.severity]
    lengths = {seconds for window in windows for seconds in (window.long_seconds, window.short_seconds)}
    counts = {seconds: events for seconds in lengths if (events := queue.events_of_last(seconds)) is not None}
    if len(counts) < len(lengths):
        return Measured(None, windows[0].factor, "×", "how jobs ended before is not known", "unknown")
    findings = assess(counts, objective=rule.objective, least_event_count=rule.least_event_count, windows=windows)
    # The fastest burn that fires speaks for all; else the window that is nearest to it.
    nearest = max(findings, key=lambda finding: _nearness(finding) / finding.window.factor)
    worst = next((finding for finding in findings if finding.is_firing), nearest)
    return Measured(
        _nearness(worst), worst.window.factor, "×", _burn_message(rule, worst),
        "firing" if worst.is_firing else "clear",
    )  # fmt: skip


def _burn_message(rule: BurnRate, finding: BurnFinding) -> str:
    hours = finding.window.long_seconds / 3_600
    if finding.long_burn is None:
        return f"no job finished in {hours:g} h"
    return (
        f"failures use up the budget of {rule.objective:.4g} {finding.long_burn:,.1f} times too fast over {hours:g} h "
        f"(limit {finding.window.factor:g}), {finding.event_count:,} jobs finished"
        + (", too few to judge" if finding.is_too_few else "")
    )


def _nearness(finding: BurnFinding) -> float:
    return min(finding.long_burn or 0.0, finding.short_burn or 0.0)


def _audit_lag(rule: AuditLagging, queue: QueueFacts) -> Measured:
    lag_seconds = queue.audit_lag_ms / 1000
    message = (
        f"{queue.audit_backlog:,} audit entries are not yet in AuditLog, the oldest for {span(lag_seconds)} "
        f"(limit {span(rule.limit_seconds)})"
    )
    return Measured(lag_seconds, rule.limit_seconds, "s", message)


def _no_heartbeat(queue: QueueFacts) -> Measured:
    is_over = queue.workers == 0 and queue.waiting > 0 and not queue.is_paused
    message = f"{queue.waiting:,} jobs wait and {queue.workers or 'no'} worker processes answer"
    return Measured(queue.waiting if is_over else 0, 0, "jobs", message, "firing" if is_over else "clear")


def _redis_memory(rule: RedisMemory, queue: QueueFacts, facts: Facts) -> Measured:
    memory, limit = queue.redis_memory, rule.limit_ratio * 100
    if memory is None:
        return Measured(None, limit, "%", "how full its Redis is could not be read", "unknown")
    if not memory.limit_bytes:
        return Measured(None, limit, "%", "the Redis that holds it has no limit of memory")
    speaker = _speaker(rule, memory.server, facts)
    if speaker != queue.queue:
        return Measured(None, limit, "%", f"on the same Redis as {speaker}, which speaks for it")
    ratio = memory.used_bytes / memory.limit_bytes
    message = (
        f"the Redis that holds it has used {ratio:.0%} of {memory.limit_bytes / 2**20:,.0f} MiB "
        f"(limit {rule.limit_ratio:.0%}); full, it takes no new job, for this queue and all that it holds"
    )
    return Measured(ratio * 100, limit, "%", message)


def _speaker(rule: RedisMemory, server: str, facts: Facts) -> str:
    """The first watched queue of a server: they are all as full as it is, and one is told of."""
    return next(
        queue.queue
        for queue in facts.queues.values()
        if rule.watches(queue.queue) and queue.redis_memory is not None and queue.redis_memory.server == server
    )


def _stats_stale(rule: StatsStale, queue: QueueFacts) -> Measured:
    if queue.stats_age_ms is None:
        return Measured(None, rule.limit_seconds, "s", "nobody has published stats", "firing")
    age_seconds = queue.stats_age_ms / 1000
    message = f"published stats are {span(age_seconds)} old (limit {span(rule.limit_seconds)})"
    return Measured(age_seconds, rule.limit_seconds, "s", message)


def by_key(conditions: Sequence[Condition]) -> Mapping[str, Condition]:
    """The conditions by what there is at most one alert of."""
    return {condition.key: condition for condition in conditions}
