"""Enqueueing, for producers in any language."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header
from starlette.responses import Response

from teknav_ops.api.dependencies import FromServices, MayEnqueue
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models_jobs import EnqueueAnswer, EnqueueRequest
from teknav_ops.api.parameters import QueueName
from teknav_ops.api.problems import answers
from teknav_ops.errors import InvalidRequest

router = APIRouter(prefix="/api/owner/queues", tags=["enqueue"], route_class=ExactRoute)


@router.post(
    "/{queue}/jobs",
    operation_id="enqueue_job",
    summary="Enqueue a job",
    status_code=201,
    response_model=EnqueueAnswer,
    responses={
        200: {"model": EnqueueAnswer, "description": "The idempotency key is used: this is its first job."},
        **answers(404, 409, 413, 429),
    },
)
def enqueue_job(
    queue: QueueName,
    body: EnqueueRequest,
    services: FromServices,
    identity: MayEnqueue,
    response: Response,
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=200,
            description="Send the same key with each try: it makes one job only, for as long as the queue keeps keys.",
        ),
    ] = None,
) -> EnqueueAnswer:  # fmt: skip
    """The payload is validated and its secrets are encrypted before anything is written: 201 says that the job is
    in Redis. When no answer comes, send it again with the same `Idempotency-Key`. A key that was used for another
    job or payload is a 409, whose `errors` name the field that differs.
    """
    known = services.topology[queue]
    if body.job not in known.jobs:
        raise InvalidRequest(f"job: {queue} carries no {body.job!r}; it carries {', '.join(sorted(known.jobs))}")
    accepted = services.producer(identity.operator).enqueue(
        queue, body.job, body.payload, idempotency_key=_as_sent(idempotency_key), delay=body.delay_seconds,
        priority=body.priority, trace_id=body.trace_id,
    )  # fmt: skip
    response.status_code = 201 if accepted.is_new else 200
    response.headers["Location"] = f"/api/owner/queues/{queue}/jobs/{accepted.job_id}"
    return EnqueueAnswer(job_id=accepted.job_id, queue=queue, is_new=accepted.is_new)


def _as_sent(key: str | None) -> str | None:
    """The key as its sender wrote it: headers are read as Latin-1, and clients write other letters as UTF-8."""
    try:
        return None if key is None else key.encode("latin-1").decode()
    except UnicodeDecodeError:
        raise InvalidRequest("idempotency_key: is not UTF-8; send it as ASCII or UTF-8") from None
