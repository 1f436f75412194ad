"""Alert rules: what is watched, on which queues, from which value on, and how urgently a person is told."""

from __future__ import annotations

import functools
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from teknav_ops.errors import InvalidRequest
from teknav_ops.listed_settings import fault_words, load_list
from teknav_ops.metrics.minutes import KEPT_MINUTES
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY, Topology

Severity = Literal["page", "ticket"]

#: A window of minutes must be whole in Redis.
_LONGEST_MINUTES: Final = KEPT_MINUTES - 60
#: Part of a Redis's memory from which on somebody should look.
NEARLY_FULL: Final = 0.8
_NAME: Final = r"^[a-z0-9][a-z0-9-]{0,59}$"


class _Rule(BaseModel):
    """What all rules share. An alert opens when its condition has held for `for_seconds`, and is resolved when it has
    not held for `clear_seconds`, so that a value at the limit does not call a person again and again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", pattern=_NAME, description="How the alert is called; the kind's name unless given.")
    queues: tuple[str, ...] = Field((), description="Watched queues; none named: all.")
    except_queues: tuple[str, ...] = Field((), description="Queues left out.")
    severity: Severity = "ticket"
    for_seconds: int = Field(60, ge=0, le=86_400)
    clear_seconds: int = Field(300, ge=0, le=86_400)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, dict) and not values.get("name"):
            return {**values, "name": str(values.get("kind", "")).replace("_", "-")}
        return values

    def watches(self, queue: str) -> bool:
        """Whether the rule looks at this queue."""
        return queue not in self.except_queues and (not self.queues or queue in self.queues)


class DlqInflow(_Rule):
    """More than `limit_count` jobs became dead letters within `window_minutes`."""

    kind: Literal["dlq_inflow"]
    limit_count: int = Field(10, ge=0)
    window_minutes: int = Field(10, ge=1, le=_LONGEST_MINUTES)
    for_seconds: int = Field(0, ge=0, le=86_400)


class OldestWaitingAge(_Rule):
    """The job that waits longest has waited for more than `limit_seconds`. Paused queues count only if asked for."""

    kind: Literal["oldest_waiting_age"]
    limit_seconds: float = Field(300.0, gt=0)
    counts_paused: bool = False


class P95OverTarget(_Rule):
    """The p95 of run durations over `window_minutes` is above `target_ms`, by default half the queue's time limit."""

    kind: Literal["p95_over_target"]
    target_ms: float | None = Field(None, gt=0)
    window_minutes: int = Field(15, ge=1, le=360)
    least_run_count: int = Field(200, ge=1, description="Fewer runs than this say nothing about a p95.")
    for_seconds: int = Field(300, ge=0, le=86_400)

    def target_for(self, time_limit_ms: float) -> float:
        """The target on a queue with this time limit, in ms."""
        return self.target_ms or time_limit_ms / 2


class BurnRate(_Rule):
    """The error budget of `objective` burns too fast, in the windows that the SRE Workbook gives to the severity."""

    kind: Literal["burn_rate"]
    objective: float = Field(0.99, gt=0, lt=1, description="Share of finished jobs that must succeed.")
    least_event_count: int = Field(100, ge=1)
    for_seconds: int = Field(0, ge=0, le=86_400)


class AuditLagging(_Rule):
    """The oldest entry that is not yet in AuditLog is older than `limit_seconds`: SQL or the writer is away."""

    kind: Literal["audit_lag"]
    limit_seconds: float = Field(120.0, gt=0)
    severity: Severity = "page"
    for_seconds: int = Field(30, ge=0, le=86_400)
    clear_seconds: int = Field(60, ge=0, le=86_400)


class NoHeartbeat(_Rule):
    """Jobs wait, the queue is not paused, and no worker that serves it has shown a sign of life for a minute."""

    kind: Literal["no_heartbeat"]
    severity: Severity = "page"
    clear_seconds: int = Field(60, ge=0, le=86_400)


class StuckJobs(_Rule):
    """More than `limit_count` jobs run long past their time limit and cannot be interrupted."""

    kind: Literal["stuck_jobs"]
    limit_count: int = Field(0, ge=0)
    for_seconds: int = Field(0, ge=0, le=86_400)
    clear_seconds: int = Field(60, ge=0, le=86_400)


class RedisMemory(_Rule):
    """The server that holds the queue has used more than `limit_ratio` of its `maxmemory`; full, it takes no job."""

    kind: Literal["redis_memory"]
    limit_ratio: float = Field(NEARLY_FULL, gt=0, le=1)


class ClockOff(_Rule):
    """The server's clock was set by more than `limit_seconds` within `window_minutes`, or is so far from ours."""

    kind: Literal["server_clock"]
    limit_seconds: float = Field(5.0, gt=0)
    window_minutes: int = Field(60, ge=1, le=1_440)
    for_seconds: int = Field(0, ge=0, le=86_400)


class AuditChanged(_Rule):
    """Rows of AuditLog are not as they were sealed, or the newest were cut off, as the scheduler has found."""

    kind: Literal["audit_changed"]
    severity: Severity = "page"
    for_seconds: int = Field(0, ge=0, le=86_400)
    clear_seconds: int = Field(60, ge=0, le=86_400)


class StatsStale(_Rule):
    """The queue's published numbers are older than `limit_seconds`, or there are none."""

    kind: Literal["stats_stale"]
    limit_seconds: float = Field(60.0, gt=0)


Rule = (
    DlqInflow
    | OldestWaitingAge
    | P95OverTarget
    | BurnRate
    | AuditLagging
    | NoHeartbeat
    | StuckJobs
    | RedisMemory
    | ClockOff
    | AuditChanged
    | StatsStale
)

#: What alerts of these rules can be about. Alerts of other kinds are opened and resolved elsewhere.
RULE_KINDS: Final = frozenset(get_args(kind.model_fields["kind"].annotation)[0] for kind in get_args(Rule))

#: In force unless `TEKNAV_ALERT_RULES` says otherwise.
DEFAULT_RULES: Final[tuple[Rule, ...]] = (
    NoHeartbeat(kind="no_heartbeat"),
    AuditLagging(kind="audit_lag"),
    BurnRate(kind="burn_rate", name="burn-rate-page", severity="page"),
    BurnRate(kind="burn_rate", name="burn-rate-ticket", severity="ticket", clear_seconds=1_800),
    OldestWaitingAge(
        kind="oldest_waiting_age", name="otp-waiting", queues=("otp:send",), severity="page", limit_seconds=30.0,
        for_seconds=15,
    ),
    OldestWaitingAge(kind="oldest_waiting_age", name="waiting", except_queues=("otp:send",), limit_seconds=600.0),
    OldestWaitingAge(
        kind="oldest_waiting_age", name="forgotten-pause", limit_seconds=86_400.0, counts_paused=True,
    ),
    DlqInflow(kind="dlq_inflow"),
    P95OverTarget(kind="p95_over_target"),
    StuckJobs(kind="stuck_jobs"),
    RedisMemory(kind="redis_memory", name="redis-full", severity="page", limit_ratio=0.95),
    RedisMemory(kind="redis_memory"),
    ClockOff(kind="server_clock"),
    AuditChanged(kind="audit_changed"),
    StatsStale(kind="stats_stale"),
)  # fmt: skip


def rules_of(settings: Settings, topology: Topology = TOPOLOGY) -> tuple[Rule, ...]:
    """The rules in force. Raises InvalidRequest, which names the rule and the field."""
    if settings.alert_rules is None:
        # A team with other queues keeps what fits them.
        return tuple(rule for rule in DEFAULT_RULES if all(queue in topology for queue in rule.queues))
    return parse_rules(settings.alert_rules, topology)


def parse_rules(text: str, topology: Topology) -> tuple[Rule, ...]:
    """Rules from JSON, or from a file named as `@path`.

    Raises:
        InvalidRequest: names the rule and the field that is wrong.
    """
    listed = load_list("alert_rules", text)
    try:
        rules = _rules_adapter().validate_python(listed)
    except ValidationError as error:
        faults = [
            fault_words("alert_rules", listed, fault, called=("name", "kind"), kind="kind") for fault in error.errors()
        ]
        raise InvalidRequest("; ".join(faults)) from None
    for number, rule in enumerate(rules):
        unknown = [queue for queue in (*rule.queues, *rule.except_queues) if queue not in topology]
        if unknown:
            raise InvalidRequest(
                f"alert_rules[{number}] ({rule.name}): queues: no {unknown[0]!r}; there are {', '.join(topology)}"
            )
        if rule.name in {earlier.name for earlier in rules[:number]}:
            raise InvalidRequest(
                f"alert_rules[{number}] ({rule.name}): name: another rule is called so; give it a name"
            )
    return rules


@functools.cache
def _rules_adapter() -> TypeAdapter[tuple[Rule, ...]]:
    """Made when it is first needed: most commands read no rules."""
    return TypeAdapter(tuple[Annotated[Rule, Field(discriminator="kind")], ...])


def dump_rules(rules: tuple[Rule, ...]) -> list[dict[str, Any]]:
    """The rules as `TEKNAV_ALERT_RULES` takes them, every field spelt out."""
    return [rule.model_dump(mode="json", exclude_none=True) for rule in rules]
