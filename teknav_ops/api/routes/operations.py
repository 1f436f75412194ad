"""Workers, the audit trail, alerts: what the people who run it look at."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.api.dependencies import FromServices, MayRead, SearchedText
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models_operations import AlertModel, Alerts, AuditEntryModel, AuditPageModel, WorkerModel, Workers
from teknav_ops.api.parameters import Limit, Short, Since, Until, window_of
from teknav_ops.api.problems import answers
from teknav_ops.api.shown import shown_detail, shown_worker
from teknav_ops.audit.entries import OUTCOMES
from teknav_ops.audit.trail import AuditFilter
from teknav_ops.metrics.scheduler_state import read_scheduler

router = APIRouter(prefix="/api/owner", tags=["operations"], route_class=ExactRoute)


@router.get(
    "/workers", operation_id="list_workers", summary="Worker processes, and what each runs now", responses=answers(),
    response_model=Workers,
)  # fmt: skip
def list_workers(services: FromServices, identity: MayRead) -> Workers:
    """Living ones first. One that has been silent for a minute is dead: its jobs are taken back by the others."""
    shown = [shown_worker(worker, identity) for worker in services.workers.all()]
    items = [WorkerModel.model_validate(worker, from_attributes=True) for worker in shown]
    return Workers(
        items=items,
        alive_count=sum(worker.is_alive for worker in items),
        running_count=sum(len(worker.running) for worker in items),
    )


@router.get(
    "/audit", operation_id="list_audit", summary="The audit trail, newest first", responses=answers(),
    response_model=AuditPageModel,
)  # fmt: skip
def list_audit(
    services: FromServices,
    identity: MayRead,
    text: SearchedText,
    queue: Annotated[Short, Query(description="Only this queue.")] = None,
    action: Annotated[Short, Query(description="Only this action; `dlq.` is all that begin so.")] = None,
    actor: Annotated[Short, Query(description="Only what this person or process did.")] = None,
    job_id: Annotated[Short, Query(description="Only this job.")] = None,
    trace: Annotated[Short, Query(description="Only jobs of this trace.")] = None,
    error_type: Annotated[Short, Query(description="Only this error type.")] = None,
    fingerprint: Annotated[Short, Query(description="Only this cause.")] = None,
    outcome: Annotated[Short, Query(description=f"Ended so: {', '.join(OUTCOMES)}.")] = None,
    since: Since = None,
    until: Until = None,
    cursor: Annotated[Short, Query(description="Go on from here: `next_cursor` of the last page.")] = None,
    limit: Limit = 50,
) -> AuditPageModel:
    """`text` looks into details' values, error types and job names, and needs the right to read payloads. A page may be
    short and still have a `next_cursor`: the search is bounded, and went back to `looked_back_to`.
    """
    where = AuditFilter(
        queue=queue, action=action, actor=actor, job_id=job_id, trace_id=trace, error_type=error_type,
        fingerprint=fingerprint, outcome=outcome, text=text, window=window_of(since, until),
    )  # fmt: skip
    page = services.trail.page(where, cursor=cursor, limit=limit)
    items = [
        AuditEntryModel.model_validate(entry, from_attributes=True).model_copy(
            update={"detail": shown_detail(entry, identity)}
        )
        for entry in page.items
    ]
    return AuditPageModel(items=items, next_cursor=page.next_cursor, looked_back_to=page.looked_back_to)


@router.get(
    "/alerts", operation_id="list_alerts", summary="Alerts, open ones first", responses=answers(), response_model=Alerts
)
def list_alerts(
    services: FromServices,
    _: MayRead,
    open_only: Annotated[bool, Query(description="Only those whose condition still holds.")] = False,
    limit: Limit = 50,
) -> Alerts:
    """Rules whose condition holds, or held. `runbook` is the page to open."""
    queries = AlertQueries(services.database, services.client)
    still_open = queries.open()
    found = still_open if open_only else still_open + queries.recent(limit=limit)
    items = [AlertModel.model_validate(alert, from_attributes=True) for alert in found[:limit]]
    scheduler = read_scheduler(services.client, services.topology)
    return Alerts(items=items, open_count=len(still_open), scheduler=scheduler)
