"""A queue over time."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from teknav_ops.api.dependencies import FromServices, MayRead
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.history import check_step, history_from_minutes, history_with_snapshot, is_in_redis
from teknav_ops.api.models import History
from teknav_ops.api.parameters import QueueName
from teknav_ops.api.problems import answers
from teknav_ops.jobs.states import RunOutcome

router = APIRouter(prefix="/api/owner/queues", tags=["queues"], route_class=ExactRoute)

_LONGEST_SECONDS: Final = 400 * 86_400


@router.get(
    "/{queue}/history", operation_id="get_queue_history", summary="How a queue has been doing",
    responses=answers(404), response_model=History,
)  # fmt: skip
def get_queue_history(
    queue: QueueName,
    services: FromServices,
    _: MayRead,
    window_seconds: Annotated[int, Query(ge=60, le=_LONGEST_SECONDS, description="The time that ends now.")] = 3_600,
    step_seconds: Annotated[int, Query(ge=60, le=_LONGEST_SECONDS, description="One point each; whole minutes.")] = 60,
    outcome: Annotated[RunOutcome, Query(description="Which runs the durations are of.")] = "completed",
) -> History:
    """Counts, and durations within 2 %, per step. The last 24 h come from Redis and are of now; what is older comes
    from the newest snapshot, of `as_of`. 404 when there is no snapshot yet.
    """
    name = services.topology[queue].name
    check_step(window_seconds, step_seconds)
    if is_in_redis(window_seconds):
        return history_from_minutes(services.client, name, window_seconds, step_seconds, outcome)
    return history_with_snapshot(services.settings, services.client, name, window_seconds, step_seconds, outcome)
