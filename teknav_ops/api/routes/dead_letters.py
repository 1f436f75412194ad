"""Dead letters: causes first, then entries; replayed, deleted, purged, and taken away as a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import StreamingResponse

from teknav_ops.access.identity import Identity
from teknav_ops.api.dependencies import AnotherPayload, FromServices, MayAct, MayManage, MayRead, SearchedText
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.exports import attachment_name, csv_chunks, json_chunks
from teknav_ops.api.models import PageOf
from teknav_ops.api.models_jobs import (
    DeadLetterGroupModel,
    DeadLetterGroups,
    JobActionAnswer,
    PurgeAnswer,
)
from teknav_ops.api.parameters import JobId, Limit, PageCursor, QueueName, Short, Since, Until, window_of
from teknav_ops.api.problems import answers
from teknav_ops.api.rendering import rendered
from teknav_ops.api.services import Services
from teknav_ops.api.shown import shown_job, shown_letter, shown_text
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.dead_letter_causes import DeadLetterGroup
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter

router = APIRouter(prefix="/api/owner/queues/{queue}/dead-letters", tags=["dead letters"], route_class=ExactRoute)

_EXPORT_STEP: Final = 500
_PATIENT_SECONDS: Final = 3_600.0
_COLUMNS: Final = (
    "originalQueue", "originalJobId", "jobName", "failedAt", "errorType", "error", "fingerprint", "attemptsMade",
    "traceId", "payload", "stack",
)  # fmt: skip
GroupOrder = Literal["-count", "count", "-last_failed_at", "last_failed_at", "-first_failed_at", "first_failed_at"]
LetterOrder = Literal["-failed_at", "failed_at"]


async def _filter(
    text: SearchedText,
    error_type: Annotated[Short, Query(description="Only this error type.")] = None,
    fingerprint: Annotated[Short, Query(description="Only this cause.")] = None,
    job_name: Annotated[Short, Query(description="Only jobs of this kind.")] = None,
    replay: Annotated[Short, Query(description="Only what failed again after this batch replay.")] = None,
    since: Since = None,
    until: Until = None,
) -> DeadLetterFilter:
    return DeadLetterFilter(
        error_type=error_type, fingerprint=fingerprint, job_name=job_name, text=text, replay=replay,
        window=window_of(since, until),
    )  # fmt: skip


Where = Annotated[DeadLetterFilter, Depends(_filter)]


@router.get(
    "", operation_id="list_dead_letters", summary="A page of dead letters", responses=answers(404),
    response_model=PageOf[DeadLetter],
)  # fmt: skip
@rendered(shared=True)
def list_dead_letters(
    queue: QueueName,
    services: FromServices,
    identity: MayRead,
    where: Where,
    sort: Annotated[LetterOrder, Query(description="By when they failed; `-` is newest first.")] = "-failed_at",
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> PageOf[DeadLetter]:
    """`text` looks into the error, the payload's values and the job's id, and needs the right to read payloads."""
    page = services.dead_letters.page(
        queue, where=where, cursor=cursor, limit=limit, newest_first=sort == "-failed_at"
    )  # fmt: skip
    return PageOf[DeadLetter].of(page, [shown_letter(letter, identity) for letter in page.items])


@router.get(
    "/groups", operation_id="group_dead_letters", summary="Dead letters by cause", responses=answers(404),
    response_model=DeadLetterGroups,
)  # fmt: skip
@rendered(shared=True)
def group_dead_letters(
    queue: QueueName,
    services: FromServices,
    identity: MayRead,
    error_type: Annotated[Short, Query(description="Only this error type.")] = None,
    sort: Annotated[GroupOrder, Query(description="Which causes come first.")] = "-count",
    cursor: PageCursor = None,
    limit: Limit = 200,
) -> DeadLetterGroups:
    """How many, since when, until when, and the newest error as an example. By time, all causes are looked up."""
    page = services.dead_letters.groups(queue, error_type=error_type, sort=sort, cursor=cursor, limit=limit)
    shown = [_shown_group(group, identity, queue) for group in page.items]
    return DeadLetterGroups(
        items=shown,
        next_cursor=page.next_cursor,
        total_count=sum(group.count for group in shown),
        cause_count=page.total_count,
    )


def _shown_group(group: DeadLetterGroup, identity: Identity, queue: str) -> DeadLetterGroupModel:
    model = DeadLetterGroupModel.model_validate(group)
    return model.model_copy(update={"example_error": shown_text(group.example_error, identity, queue)})


@router.get(
    "/export", operation_id="export_dead_letters", summary="All matching dead letters, as a file",
    response_class=StreamingResponse,
    responses={
        200: {"description": "An attachment.", "content": {"application/json": {}, "text/csv": {}}},
        **answers(404),
    },
)  # fmt: skip
def export_dead_letters(
    queue: QueueName,
    services: FromServices,
    identity: MayRead,
    where: Where,
    format: Annotated[Literal["json", "csv"], Query(description="CSV is UTF-8 with a byte order mark.")] = "json",
) -> StreamingResponse:
    """Oldest first, written as they are read: what fails again meanwhile comes later, so that none is left out. Cells
    that a spreadsheet would take for formulas begin with `'`.
    """
    # Before the first byte is sent, and with it that all is well.
    services.dead_letters.check(queue, where)
    name = attachment_name("dead-letters", queue)
    pages = _exported(services, queue, where, identity)
    chunks, media_type = (
        (csv_chunks(_COLUMNS, pages), "text/csv; charset=utf-8")
        if format == "csv"
        else (json_chunks(pages), "application/json")
    )
    headers = {"Content-Disposition": f'attachment; filename="{name}.{format}"', "Cache-Control": "no-store"}
    return StreamingResponse(chunks, media_type=media_type, headers=headers)


def _exported(
    services: Services, queue: str, where: DeadLetterFilter, identity: Identity
) -> Iterator[list[dict[str, Any]]]:  # fmt: skip
    cursor, is_over = None, False
    while not is_over:
        page = services.dead_letters.page(
            queue, where=where, cursor=cursor, limit=_EXPORT_STEP, newest_first=False, looking_seconds=_PATIENT_SECONDS
        )
        yield [shown_letter(letter, identity).model_dump(mode="json", by_alias=True) for letter in page.items]
        cursor, is_over = page.next_cursor, page.next_cursor is None


@router.get(
    "/{job_id}", operation_id="get_dead_letter", summary="One dead letter", responses=answers(404),
    response_model=DeadLetter,
)  # fmt: skip
@rendered()
def get_dead_letter(queue: QueueName, job_id: JobId, services: FromServices, identity: MayRead) -> DeadLetter:
    """With its stack trace, and its payload with secrets masked."""
    return shown_letter(services.dead_letters.get(queue, job_id), identity)


@router.post(
    "/{job_id}/replay", operation_id="replay_dead_letter", summary="Put one dead letter's job back to wait",
    responses=answers(404, 409, 413), response_model=JobActionAnswer,
)  # fmt: skip
def replay_dead_letter(
    queue: QueueName, job_id: JobId, services: FromServices, identity: MayAct, payload: AnotherPayload
) -> JobActionAnswer:
    """With fresh attempts, and with another payload if one is given: it is validated, and the old one stays in the
    audit trail. Doing it again is a 409: it runs once.
    """
    services.control(identity.operator).replay(queue, job_id, data=payload)
    return JobActionAnswer(action="replayed", job=shown_job(services.jobs.get(queue, job_id), identity))


@router.delete(
    "/{job_id}", operation_id="delete_dead_letter", summary="Delete one dead letter", status_code=204,
    responses=answers(404),
)  # fmt: skip
def delete_dead_letter(queue: QueueName, job_id: JobId, services: FromServices, identity: MayManage) -> None:
    """It needs no more work. The job stays in the failed history while that lasts."""
    services.control(identity.operator).delete(queue, job_id)


@router.delete(
    "", operation_id="purge_dead_letters", summary="Delete all dead letters of a queue", responses=answers(404),
    response_model=PurgeAnswer,
)  # fmt: skip
def purge_dead_letters(
    queue: QueueName,
    services: FromServices,
    identity: MayManage,
    confirm: Annotated[str, Query(max_length=100, description="The queue's name, so that nobody does it by mistake.")],
) -> PurgeAnswer:
    """All that there are at this moment. The answer comes when it is done; whoever hangs up does not stop it."""
    return PurgeAnswer(deleted_count=services.control(identity.operator).purge(queue, confirmation=confirm))
