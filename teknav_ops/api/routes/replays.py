"""Batch replays: previewed as a frozen list, started at a rate, followed, aborted, and kept on record."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from teknav_ops.access.policy import Operation
from teknav_ops.api.dependencies import FromServices, MayAct, MayActOnSome, MayRead
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.models import PageOf
from teknav_ops.api.models_jobs import ReplayRequest, ReplayStart, ReplayView
from teknav_ops.api.parameters import Limit, PageCursor, QueueName, ReplayId, Short
from teknav_ops.api.problems import answers
from teknav_ops.api.rendering import rendered
from teknav_ops.api.services import Services
from teknav_ops.jobs.batch_replay import Replay

router = APIRouter(prefix="/api/owner", tags=["batch replays"], route_class=ExactRoute)


@router.post(
    "/queues/{queue}/replays", operation_id="preview_replay", summary="Freeze a list of dead letters to replay",
    status_code=201, responses=answers(404), response_model=ReplayView,
)  # fmt: skip
def preview_replay(
    queue: QueueName, body: ReplayRequest, services: FromServices, identity: MayAct, response: Response
) -> ReplayView:
    """All that match the filters at this moment, or the oldest `limit` of them; or those of `job_ids`. Nothing is
    replayed yet: the answer says how many match, how many are of each cause, and what their jobs could repeat.
    """
    replay = services.control(identity.operator).preview_replay(
        queue, body.filters.where(), limit=body.limit, name=body.name, job_ids=body.job_ids
    )
    response.headers["Location"] = f"/api/owner/replays/{replay.id}"
    return _view(services, replay)


@router.get(
    "/replays", operation_id="list_replays", summary="Batch replays, newest first", responses=answers(404),
    response_model=PageOf[ReplayView],
)  # fmt: skip
def list_replays(
    services: FromServices,
    _: MayRead,
    queue: Annotated[Short, Query(description="Only this queue's.")] = None,
    cursor: PageCursor = None,
    limit: Limit = 50,
) -> PageOf[ReplayView]:
    """With their names and what became of them; kept for thirty days, and for seven as a preview."""
    page = services.replays.page(queue=queue, cursor=cursor, limit=limit)
    return PageOf[ReplayView].of(page, [_view(services, replay) for replay in page.items])


@router.get(
    "/replays/{replay_id}", operation_id="get_replay", summary="How far a batch replay has come",
    responses=answers(404), response_model=ReplayView,
)  # fmt: skip
@rendered()
def get_replay(replay_id: ReplayId, services: FromServices, _: MayRead) -> ReplayView:
    """`done_count` of `total_count`; of these, `replayed_count` were replayed, and what became of them. Those that
    failed again are the dead letters that the filter `replay` finds, and can be previewed by it.
    """
    return _view(services, services.replays.find(replay_id))


@router.post(
    "/replays/{replay_id}/start", operation_id="start_replay", summary="Replay a frozen list", status_code=202,
    responses=answers(404, 409), response_model=ReplayView,
)  # fmt: skip
def start_replay(
    replay_id: ReplayId,
    services: FromServices,
    identity: MayActOnSome,
    start: ReplayStart | None = None,
) -> ReplayView:
    """The server does it, whether or not the client stays; another server goes on should this one die. Starting again
    is the same run: nothing is done twice, and a new rate takes effect. 409 when it was aborted.
    """
    queue = services.replays.find(replay_id).queue
    identity.require(Operation.ACT, queue)
    rate = start.rate_per_second if start else None
    replay = services.control(identity.operator).start_replay(queue, replay_id, rate_per_second=rate)
    return _view(services, replay)


@router.post(
    "/replays/{replay_id}/abort", operation_id="abort_replay", summary="Stop a batch replay",
    responses=answers(404, 409), response_model=ReplayView,
)  # fmt: skip
def abort_replay(replay_id: ReplayId, services: FromServices, identity: MayActOnSome) -> ReplayView:
    """What was replayed stays replayed. 409 when it has finished."""
    queue = services.replays.find(replay_id).queue
    identity.require(Operation.ACT, queue)
    return _view(services, services.control(identity.operator).abort_replay(queue, replay_id))


def _view(services: Services, replay: Replay) -> ReplayView:
    effects = services.topology[replay.queue].effects
    return ReplayView(**replay.model_dump(), skipped=replay.skipped_count, effects=effects)
