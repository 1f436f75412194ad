"""REST: one module per kind of resource. Here is the list of them."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI

from teknav_ops.api import documentation
from teknav_ops.api.realtime import sse, websocket
from teknav_ops.api.routes import (
    access,
    dead_letters,
    deletions,
    enqueue,
    history,
    jobs,
    metrics,
    operations,
    queues,
    replays,
    reports,
)

ROUTERS: Final[tuple[APIRouter, ...]] = (
    queues.router,
    history.router,
    enqueue.router,
    jobs.router,
    dead_letters.router,
    deletions.router,
    replays.router,
    operations.router,
    access.router,
    metrics.router,
    sse.router,
    websocket.router,
)


def include_routes(app: FastAPI) -> None:
    """Serve the API, and its description."""
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(reports.router)
    documentation.install(app)
