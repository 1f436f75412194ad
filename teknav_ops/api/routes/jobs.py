"""Jobs: listed, found, looked at, and acted on."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from teknav_ops.access.identity import Identity
from teknav_ops.api.dependencies import AnotherPayload, FromServices, MayAct, MayRead, SearchedText
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.exports import attachment_name
from teknav_ops.api.models import PageOf
from teknav_ops.api.models_jobs import (
    DeliveryAttempt,
    FoundJob,
    JobActionAnswer,
    JobExport,
    SearchAnswer,
    Timeline,
    TimelineEntry,
)
from teknav_ops.api.parameters import PLAIN, JobId, Limit, PageCursor, QueueName, Short, Since, Until, window_of
from teknav_ops.api.problems import answers
from teknav_ops.api.rendering import rendered
from teknav_ops.api.search import TRACE_LIMIT
from teknav_ops.api.services import Services
from teknav_ops.api.shown import shown_detail, shown_job, shown_letter, shown_text
from teknav_ops.errors import UnknownJob
from teknav_ops.jobs.queries import JobFilter
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.platform.webhook_endpoints import Attempt, attempts_of_job

router = APIRouter(prefix="/api/owner", tags=["jobs"], route_class=ExactRoute)

JobOrder = Literal["due_at", "-due_at", "finished_at", "-finished_at"]
#: Lists leave out what only one job's page shows: twenty stack traces each.
_LISTED: Any = {"items": {"__all__": {"attempts"}}}


@router.get(
    "/queues/{queue}/jobs", operation_id="list_jobs", summary="A page of a queue's jobs in one state",
    responses=answers(404), response_model=PageOf[JobRecord],
)  # fmt: skip
@rendered(exclude=_LISTED, shared=True)
def list_jobs(
    queue: QueueName,
    services: FromServices,
    identity: MayRead,
    text: SearchedText,
    state: Annotated[JobState, Query(description="Which jobs.")] = JobState.WAITING,
    name: Annotated[Short, Query(description="Only jobs of this kind.")] = None,
    trace: Annotated[Short, Query(description="Only jobs of this trace.")] = None,
    since: Since = None,
    until: Until = None,
    sort: Annotated[JobOrder | None, Query(description="Delayed by `due_at`, ended by `finished_at`.")] = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> PageOf[JobRecord]:
    """What runs next comes first; what has ended, newest first; `-` is last to first. Jobs that wait or run have one
    order, that of their hand-out or lease. `text` looks into the payload's values, and needs
    the right to read them. Times are when a job ended, is due, or (active) when its lease ends; waiting jobs have none.
    """
    where = JobFilter(name=name, trace_id=trace, text=text, window=window_of(since, until))
    page = services.jobs.page(queue, state, where=where, sort=sort, cursor=cursor, limit=limit)
    return PageOf[JobRecord].of(page, [shown_job(job, identity) for job in page.items])


@router.get(
    "/search", operation_id="search_jobs", summary="Find jobs by id or by trace, on any queue", responses=answers(),
    response_model=SearchAnswer,
)  # fmt: skip
def search_jobs(
    services: FromServices,
    _: MayRead,
    q: Annotated[
        str,
        Query(min_length=1, max_length=200, pattern=PLAIN, description="A job's id, or a trace id (32 hex digits)."),
    ],
) -> SearchAnswer:
    """Jobs that are no longer kept are found in the audit trail, with `state` null."""
    places = services.search.places(q)
    records = services.search.records(places[:TRACE_LIMIT])
    items = [_found(place, record) for place, record in zip(places, records, strict=False)]
    return SearchAnswer(q=q, items=items, is_complete=len(places) <= TRACE_LIMIT)


def _found(place: tuple[str, str], record: JobRecord | None) -> FoundJob:
    queue, job_id = place
    return FoundJob(
        queue=queue, job_id=job_id, name=record and record.name, state=record and record.state,
        trace_id=record and record.trace_id, at=record and (record.finished_at or record.enqueued_at),
    )  # fmt: skip


@router.get(
    "/jobs/{job_id}", operation_id="find_job", summary="One job, whichever queue it is on", responses=answers(404),
    response_model=JobRecord,
)  # fmt: skip
@rendered()
def find_job(job_id: JobId, services: FromServices, identity: MayRead) -> JobRecord:
    """The record of a job whose queue is not known."""
    for record in services.search.records([place for place in services.search.places(job_id) if place[1] == job_id]):
        if record is not None:
            return shown_job(record, identity)
    raise UnknownJob(f"job: no queue keeps a record of {job_id!r}; finished jobs are kept for a while only")


@router.get(
    "/queues/{queue}/jobs/{job_id}", operation_id="get_job", summary="One job", responses=answers(404),
    response_model=JobRecord,
)  # fmt: skip
@rendered()
def get_job(queue: QueueName, job_id: JobId, services: FromServices, identity: MayRead) -> JobRecord:
    """Its payload with secrets masked, its result or error, and its failed attempts with stack traces."""
    return shown_job(services.jobs.get(queue, job_id), identity)


@router.get(
    "/queues/{queue}/jobs/{job_id}/timeline", operation_id="get_job_timeline", summary="A job's story",
    responses=answers(404), response_model=Timeline,
)  # fmt: skip
def get_job_timeline(queue: QueueName, job_id: JobId, services: FromServices, identity: MayRead) -> Timeline:
    """From the audit trail, oldest first, with what has not reached AuditLog yet. Outlives the job's record."""
    return Timeline(job_id=job_id, entries=_story(services, queue, job_id, identity))


def _story(services: Services, queue: QueueName, job_id: str, identity: Identity) -> list[TimelineEntry]:
    entries = services.story(services.topology[queue].name, job_id)
    return [
        TimelineEntry.model_validate(entry, from_attributes=True).model_copy(
            update={"detail": shown_detail(entry, identity), "is_on_record": entry.id is not None}
        )
        for entry in entries
    ]


@router.get(
    "/queues/{queue}/jobs/{job_id}/export", operation_id="export_job", summary="All about one job, as a file",
    responses=answers(404), response_model=JobExport,
)  # fmt: skip
def export_job(
    queue: QueueName, job_id: JobId, services: FromServices, identity: MayRead, response: Response
) -> JobExport:  # fmt: skip
    """The record, the dead letter if there is one, the story, and receivers' answers, as a JSON attachment."""
    job = shown_job(services.jobs.get(queue, job_id), identity)
    try:
        letter = shown_letter(services.dead_letters.get(queue, job_id), identity)
    except UnknownJob:
        letter = None
    response.headers["Content-Disposition"] = f'attachment; filename="{attachment_name("job", job_id)}.json"'
    return JobExport(
        job=job, dead_letter=letter, timeline=_story(services, queue, job_id, identity),
        deliveries=[_delivery(attempt, queue, identity) for attempt in attempts_of_job(services.database, job_id)],
    )  # fmt: skip


def _delivery(attempt: Attempt, queue: str, identity: Identity) -> DeliveryAttempt:
    # A receiver may quote what it was sent.
    words = {name: shown_text(getattr(attempt, name) or "", identity, queue) or None for name in ("answer", "error")}
    return DeliveryAttempt.model_validate(attempt, from_attributes=True).model_copy(update=words)


@router.post(
    "/queues/{queue}/jobs/{job_id}/retry", operation_id="retry_job", summary="Run a failed job again",
    responses=answers(404, 409), response_model=JobActionAnswer,
)  # fmt: skip
def retry_job(
    queue: QueueName, job_id: JobId, services: FromServices, identity: MayAct, payload: AnotherPayload
) -> JobActionAnswer:
    """With fresh attempts and the same id, whether or not its dead letter is still there; with another payload if one
    is given. 409 when it has not failed: someone may have retried it a moment ago.
    """
    services.control(identity.operator).replay(queue, job_id, data=payload)
    return JobActionAnswer(action="retried", job=shown_job(services.jobs.get(queue, job_id), identity))


@router.post(
    "/queues/{queue}/jobs/{job_id}/run-again", operation_id="run_job_again", status_code=201,
    summary="Run a completed or cancelled job once more", response_model=JobActionAnswer,
    responses={
        **answers(404, 409, 413, 429),
        200: {"model": JobActionAnswer, "description": "It was run again before."},
    },
)  # fmt: skip
def run_job_again(
    queue: QueueName, job_id: JobId, services: FromServices, identity: MayAct, response: Response
) -> JobActionAnswer:
    """As a new job with the same payload, which names this one in `run_again_of`; it is the `job` of the answer. Sent
    again, no other job is made. 409 when the job has not ended, or has failed: retry that. A token's quota counts it.
    """
    services.take_quota(identity.operator, queue, 1)
    accepted = services.control(identity.operator).run_again(queue, job_id)
    response.status_code = 201 if accepted.is_new else 200
    return JobActionAnswer(action="run again", job=shown_job(services.jobs.get(queue, accepted.job_id), identity))


@router.post(
    "/queues/{queue}/jobs/{job_id}/promote", operation_id="promote_job", summary="Run a delayed job now",
    responses=answers(404, 409), response_model=JobActionAnswer,
)  # fmt: skip
def promote_job(queue: QueueName, job_id: JobId, services: FromServices, identity: MayAct) -> JobActionAnswer:
    """It need not wait for its time. 409 when it is not delayed."""
    services.control(identity.operator).promote(queue, job_id)
    return JobActionAnswer(action="promoted", job=shown_job(services.jobs.get(queue, job_id), identity))


@router.post(
    "/queues/{queue}/jobs/{job_id}/cancel", operation_id="cancel_job", summary="Take a job out before it begins",
    responses=answers(404, 409), response_model=JobActionAnswer,
)  # fmt: skip
def cancel_job(queue: QueueName, job_id: JobId, services: FromServices, identity: MayAct) -> JobActionAnswer:
    """A waiting or delayed job. 409 when it has begun or ended."""
    services.control(identity.operator).cancel(queue, job_id)
    return JobActionAnswer(action="cancelled", job=shown_job(services.jobs.get(queue, job_id), identity))
