"""Batch deletions of dead letters: previewed as a frozen list, then deleted for a reason."""

from __future__ import annotations

from fastapi import APIRouter

from teknav_ops.api.dependencies import FromServices, MayManage
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models_jobs import DeletionRequest, DeletionRun
from teknav_ops.api.parameters import DeletionId, QueueName
from teknav_ops.api.problems import answers
from teknav_ops.jobs.batch_deletion import Deletion

router = APIRouter(prefix="/api/owner/queues/{queue}/deletions", tags=["dead letters"], route_class=ExactRoute)


@router.post(
    "", operation_id="preview_deletion", summary="Freeze a list of dead letters to delete", status_code=201,
    responses=answers(404), response_model=Deletion,
)  # fmt: skip
def preview_deletion(queue: QueueName, body: DeletionRequest, services: FromServices, identity: MayManage) -> Deletion:
    """All that match the filters at this moment, or the oldest `limit` of them; or those of `job_ids`. Nothing is
    deleted yet: the answer says how many match, and how many are of each cause. The list is kept for seven days.
    """
    control = services.control(identity.operator)
    return control.preview_deletion(queue, body.filters.where(), limit=body.limit, job_ids=body.job_ids)


@router.post(
    "/{deletion_id}/run", operation_id="delete_listed_dead_letters", summary="Delete a frozen list",
    responses=answers(404), response_model=Deletion,
)  # fmt: skip
def delete_listed_dead_letters(
    queue: QueueName, deletion_id: DeletionId, body: DeletionRun, services: FromServices, identity: MayManage
) -> Deletion:
    """What has failed anew since it was frozen stays. The answer comes when it is done; whoever hangs up does not stop
    it, and asking again answers the same: nothing is done twice.
    """
    return services.control(identity.operator).delete_listed(queue, deletion_id, reason=body.reason)
