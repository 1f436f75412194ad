"""What a processor is: a plain function of a validated payload and a context."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import structlog

from teknav_ops.errors import PermanentError
from teknav_ops.payloads.base import Payload

Services = TypeVar("Services")
PayloadT = TypeVar("PayloadT", bound=Payload)

#: A short JSON object kept on the job's record: what came of it.
Summary = Mapping[str, Any] | None


@dataclasses.dataclass(slots=True, kw_only=True)
class JobContext(Generic[Services]):
    """What a processor may know of its job, and the outside world it may use.

    `attempt` counts from 1; `delivery` counts every hand-over to a worker. `report_progress`
    takes a fraction from 0 to 1 and a short note, and is cheap to call often. `is_last_try` says
    whether the job would be given up if it raised this error; otherwise it comes back.
    """

    job_id: str
    queue: str
    name: str
    attempt: int
    delivery: int
    trace_id: str
    services: Services
    log: structlog.stdlib.BoundLogger
    report_progress: Callable[[float, str], None] = lambda fraction, note: None
    is_last_try: Callable[[BaseException], bool] = lambda error: isinstance(error, PermanentError)


@dataclasses.dataclass(frozen=True, slots=True)
class Processor:
    """The function that runs one kind of job, and the payload model it takes."""

    job: str
    payload: type[Payload]
    function: Callable[[Any, JobContext[Any]], Summary]

    def __call__(self, job: Payload, ctx: JobContext[Any]) -> Summary:
        """Run it directly, as tests do."""
        return self.function(job, ctx)


def processor(
    job: str,
) -> Callable[[Callable[[PayloadT, JobContext[Services]], Summary]], Processor]:
    """Declare a function as the processor of `job`; its `job` parameter's type is the payload model.

    The function returns a short summary (kept on the record) or None. It must be safe to run
    twice, and its docstring says why in a line that starts "Runs twice safely:".
    """

    def declare(function: Callable[[PayloadT, JobContext[Services]], Summary]) -> Processor:
        payload = typing.get_type_hints(function)["job"]
        return Processor(job, payload, function)

    return declare
