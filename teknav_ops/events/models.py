"""What is told: one frozen model per event, version 1. `docs/events.md` is their table.

Events are news, not records: no payloads, no error messages, only what a reader needs to look further.
Above a set rate, events of one queue and type are told as one: `count` is exact, `jobs` a sample.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

#: As many jobs are named in one event at most.
SAMPLE_LIMIT: Final = 20


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, extra="ignore")


class FinishedJob(_Frozen):
    """A job that succeeded. `duration_ms` is that of its last run."""

    job_id: str
    job: str
    duration_ms: float | None = None
    trace_id: str | None = None


class BrokenJob(_Frozen):
    """A job that was given up, and why: `teknav dlq show` has the rest."""

    job_id: str
    job: str
    error_type: str
    fingerprint: str | None = None
    trace_id: str | None = None


class _Event(_Frozen):
    v: Literal[1] = 1
    #: Where it stands in the stream, to go on from; '' until it has been told.
    id: str = ""
    #: When the newest thing in it happened (ms since the epoch, the server's clock).
    at_ms: int


class JobCompleted(_Event):
    """Jobs succeeded."""

    type: Literal["job.completed"] = "job.completed"
    queue: str
    count: int = 1
    jobs: tuple[FinishedJob, ...] = ()


class JobFailed(_Event):
    """Jobs were given up."""

    type: Literal["job.failed"] = "job.failed"
    queue: str
    count: int = 1
    jobs: tuple[BrokenJob, ...] = ()


class DeadLetterAdded(_Event):
    """Dead letters were written; each waits for an operator."""

    type: Literal["dlq.added"] = "dlq.added"
    queue: str
    count: int = 1
    jobs: tuple[BrokenJob, ...] = ()


class QueuePaused(_Event):
    """An operator paused the queue: it hands out nothing."""

    type: Literal["queue.paused"] = "queue.paused"
    queue: str
    actor: str


class QueueResumed(_Event):
    """An operator resumed the queue."""

    type: Literal["queue.resumed"] = "queue.resumed"
    queue: str
    actor: str


class QueueConfigured(_Event):
    """An operator changed the queue's limits; old and new values in `detail`."""

    type: Literal["queue.configured"] = "queue.configured"
    queue: str
    actor: str
    detail: str = ""


class StatsUpdated(_Event):
    """The live stats of these queues were written anew."""

    type: Literal["stats.updated"] = "stats.updated"
    queue: ClassVar[None] = None
    queues: tuple[str, ...]


class PluginExecuted(_Event):
    """A plugin ran to its end."""

    type: Literal["plugin.executed"] = "plugin.executed"
    queue: str
    job_id: str
    plugin: str
    #: The platform's event that the plugin was run on.
    event: str
    duration_ms: float


Event: TypeAlias = (
    JobCompleted
    | JobFailed
    | DeadLetterAdded
    | QueuePaused
    | QueueResumed
    | QueueConfigured
    | StatsUpdated
    | PluginExecuted
)
#: Every event there is, by its type.
EVENTS: Final[dict[str, type[Event]]] = {model.model_fields["type"].default: model for model in get_args(Event)}
_READER: Final[TypeAdapter[Event]] = TypeAdapter(Annotated[Event, Field(discriminator="type")])


def to_json(event: Event) -> str:
    """The event as it is written: camelCase, without its id, which the stream gives."""
    return event.model_dump_json(by_alias=True, exclude={"id"})


def from_json(text: str | None, *, event_id: str | None = None) -> Event | None:
    """The event as it was told; None for one that this version does not know (a newer relay wrote it)."""
    try:
        fields: Any = json.loads(text or "")
        return _READER.validate_python(fields if event_id is None else {**fields, "id": event_id})
    except (ValueError, TypeError, ValidationError):
        return None
