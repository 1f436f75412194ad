"""What the API takes and gives, for queues and pages. Times are UTC; units are in the names."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, field_validator

from teknav_ops.jobs.paging import Page
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.metrics.live import QueueStats

Item = TypeVar("Item")


class RequestBody(BaseModel):
    """What is sent with a request that holds numbers: `true` is none."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("must not be true or false")
        return value


class PageOf(BaseModel, Generic[Item]):
    """Some items, and where to go on.

    A page may be short, even empty, and still have a `next_cursor`: a filter looks for 0.2 s at most, and came as far
    as that. Only `next_cursor: null` is the end. `total_count` is how many match where `is_counted`; else how many
    there are before name, trace and text are looked at.
    """

    items: list[Item]
    next_cursor: str | None = Field(examples=["1732444800000_0f3a", None])
    total_count: int = Field(examples=[100_000])
    is_counted: bool = Field(examples=[True])

    @classmethod
    def of(cls, page: Page[Any], items: list[Item] | None = None) -> Self:
        """A page that was read, with its items or those shown in their place."""
        return cls(
            items=page.items if items is None else items,
            next_cursor=page.next_cursor,
            total_count=page.total_count,
            is_counted=page.is_counted,
        )


class Limit(BaseModel):
    """One limit of a queue: what holds now, and what the catalogue says. None is no limit."""

    now: int | None = Field(examples=[2])
    catalogue: int | None = Field(examples=[8])


class QueueLimits(BaseModel):
    """A queue's limits. `concurrency` is per worker process; the others are over all of them."""

    concurrency: Limit
    global_concurrency: Limit
    rate_count: Limit
    rate_period_ms: Limit


class QueueSummary(BaseModel):
    """One queue: what it is for, its limits, and its numbers as of this instant."""

    name: str = Field(examples=["ai:content"])
    purpose: str = Field(examples=["Write drafts, summaries, translations and better versions of articles."])
    is_paused: bool
    paused_since: datetime | None
    limits: QueueLimits
    stats: QueueStats


class AttentionModel(BaseModel):
    """One thing that a person should look at, the worst first."""

    model_config = ConfigDict(from_attributes=True)

    severity: str = Field(examples=["bad"])
    kind: str = Field(examples=["dead-letters"])
    queue: str | None
    text: str


class QueueList(BaseModel):
    """All queues, in the catalogue's order."""

    items: list[QueueSummary]
    attention: list[AttentionModel]


class JobKind(BaseModel):
    """A kind of job that a queue carries; `payload_schema` is the JSON Schema of its payload."""

    name: str = Field(examples=["generate-summary"])
    purpose: str
    payload_schema: dict[str, Any]


class RetryModel(BaseModel):
    """How often and how patiently a job is tried again."""

    model_config = ConfigDict(from_attributes=True)

    attempts: int
    min_backoff_ms: int
    max_backoff_ms: int
    throttle_limit_count: int = Field(description="Given up after so many pauses in a row that were asked for.")
    throttle_limit_ms: int = Field(description="And after so long.")


class QueueDetail(QueueSummary):
    """One queue with its jobs. `effects` says what a job that runs once more could repeat."""

    effects: str
    jobs: list[JobKind]
    retry: RetryModel
    time_limit_ms: int
    idempotency_ms: int = Field(description="How long an idempotency key stays used.")


class QueueChange(BaseModel):
    """What became of a change: asking for what is so already changes nothing, and is no error."""

    changed: bool
    queue: QueueSummary


class LimitsPatch(RequestBody):
    """Limits to change while the queue runs. A field left out stays; 0 puts the catalogue's value back."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"concurrency": 2}]})

    concurrency: int | None = Field(None, ge=0, le=10_000)
    global_concurrency: int | None = Field(None, ge=0, le=1_000_000)
    rate_count: int | None = Field(None, ge=0, le=10_000_000, description="Jobs per `rate_period_ms`.")
    rate_period_ms: int | None = Field(None, ge=0, le=86_400_000)


class HistoryPoint(BaseModel):
    """One span of time: how many jobs came and ended, which share of runs ended in an error, and how long the `runs` of
    the history's outcome took (None where nothing ran)."""

    at: datetime
    is_known: bool = Field(True, description="False where a part of it is on no record: the numbers say nothing then.")
    enqueued: int | None
    completed: int
    failed: int
    retried: int
    error_rate: float | None
    runs: int
    mean_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    mean_waited_ms: float | None


class History(BaseModel):
    """A queue over time. `as_of` is now, or the moment of the snapshot in which older steps were looked up."""

    queue: str
    step_seconds: int
    outcome: RunOutcome = Field(description="Which runs the durations are of.")
    source: str = Field(examples=["redis", "snapshot"])
    as_of: datetime
    points: list[HistoryPoint]
