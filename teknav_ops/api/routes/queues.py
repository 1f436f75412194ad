"""Queues: what they are doing, and how they run."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from fastapi import APIRouter

from teknav_ops.api.dependencies import FromServices, MayAct, MayManage, MayRead
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models import (
    AttentionModel,
    JobKind,
    Limit,
    LimitsPatch,
    QueueChange,
    QueueDetail,
    QueueLimits,
    QueueList,
    QueueSummary,
    RetryModel,
)
from teknav_ops.api.parameters import QueueName
from teknav_ops.api.problems import answers
from teknav_ops.api.rendering import rendered
from teknav_ops.api.services import Services
from teknav_ops.jobs.record import moment
from teknav_ops.metrics.live import QueueStats
from teknav_ops.metrics.overview import attention, read_queues_now
from teknav_ops.payloads.base import Payload
from teknav_ops.redis_state.scripts import QueueCounts
from teknav_ops.topology import Queue, purpose_of

router = APIRouter(prefix="/api/owner/queues", tags=["queues"], route_class=ExactRoute)


@router.get(
    "", operation_id="list_queues", summary="All queues with their numbers as of now", responses=answers(),
    response_model=QueueList,
)  # fmt: skip
@rendered(shared=True)
def list_queues(services: FromServices, _: MayRead) -> QueueList:
    """Counts are exact at one instant; rates and durations are those of the last five minutes. `attention` is what
    a person should look at first.
    """
    now = read_queues_now(services.client, services.topology)
    stats = {name: found for name, (_, found) in now.items()}
    return QueueList(
        items=[_summary(services.topology[name], counts, found) for name, (counts, found) in now.items()],
        attention=[AttentionModel.model_validate(about) for about in attention(stats, scheduler=services.scheduler())],
    )


@router.get(
    "/{queue}", operation_id="get_queue", summary="One queue, with its jobs and their payloads' schemas",
    responses=answers(404), response_model=QueueDetail,
)  # fmt: skip
@rendered(shared=True)
def get_queue(queue: QueueName, services: FromServices, _: MayRead) -> QueueDetail:
    """What the queue is for, which jobs it carries, how they may fail, and its numbers as of now."""
    known = services.topology[queue]
    return QueueDetail(
        **dict(_summary_of(services, queue)),
        effects=known.effects,
        jobs=[_kind(name, payload) for name, payload in known.jobs.items()],
        retry=RetryModel.model_validate(known.retry),
        time_limit_ms=known.time_limit_ms,
        idempotency_ms=known.idempotency_ms,
    )


@router.put(
    "/{queue}/pause", operation_id="pause_queue", summary="Hand out no more of the queue's jobs",
    responses=answers(404), response_model=QueueChange,
)  # fmt: skip
def pause_queue(queue: QueueName, services: FromServices, identity: MayAct) -> QueueChange:
    """Jobs that run finish; new ones wait. `changed` is false when it was paused already."""
    changed = services.control(identity.operator).pause(queue)
    return QueueChange(changed=changed, queue=_summary_of(services, queue))


@router.delete(
    "/{queue}/pause", operation_id="resume_queue", summary="Hand out jobs again", responses=answers(404),
    response_model=QueueChange,
)  # fmt: skip
def resume_queue(queue: QueueName, services: FromServices, identity: MayAct) -> QueueChange:
    """`changed` is false when the queue was not paused."""
    changed = services.control(identity.operator).resume(queue)
    return QueueChange(changed=changed, queue=_summary_of(services, queue))


@router.patch(
    "/{queue}/limits", operation_id="change_limits", summary="Change concurrency and rate limit while it runs",
    responses=answers(404), response_model=QueueChange,
)  # fmt: skip
def change_limits(queue: QueueName, limits: LimitsPatch, services: FromServices, identity: MayManage) -> QueueChange:
    """Takes effect with the next job that is handed out. 0 puts the catalogue's value back."""
    changed = services.control(identity.operator).configure(queue, **limits.model_dump())
    return QueueChange(changed=changed, queue=_summary_of(services, queue))


def _summary_of(services: Services, queue: str) -> QueueSummary:
    known = services.topology[queue]
    counts, stats = read_queues_now(services.client, [known.name])[known.name]
    return _summary(known, counts, stats)


def _summary(queue: Queue, counts: QueueCounts, stats: QueueStats) -> QueueSummary:
    return QueueSummary(
        name=queue.name,
        purpose=queue.purpose,
        is_paused=counts.is_paused,
        paused_since=moment(counts.paused_since_ms),
        limits=_limits(queue, counts),
        stats=stats,
    )


def _limits(queue: Queue, counts: QueueCounts) -> QueueLimits:
    rate = queue.rate_limit

    def limit(changed: int | None, catalogue: int | None) -> Limit:
        return Limit(now=catalogue if changed is None else changed, catalogue=catalogue)

    return QueueLimits(
        concurrency=limit(counts.concurrency, queue.concurrency),
        global_concurrency=limit(counts.global_concurrency, queue.global_concurrency),
        rate_count=limit(counts.rate_count, rate.count if rate else None),
        rate_period_ms=limit(counts.rate_period_ms, rate.period_ms if rate else None),
    )


@functools.cache
def _kind(name: str, payload: type[Payload]) -> JobKind:
    schema: dict[str, Any] = payload.model_json_schema()
    schema["description"] = inspect.getdoc(payload) or ""
    return JobKind(name=name, purpose=purpose_of(payload), payload_schema=schema)
