"""Whether this process lives, and whether it can work: for load balancers, without signing in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import anyio
import structlog
from anyio.to_thread import run_sync
from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text
from starlette.responses import JSONResponse

from teknav_ops.api.services import Services

log = structlog.get_logger("teknav.api")
router = APIRouter(tags=["health"])

_READY_SECONDS: Final = 2.0


class Readiness(BaseModel):
    """Whether what the process stands on answers, and what of it does not."""

    status: Literal["ok", "unavailable"]
    down: list[str]


@router.get("/healthz", operation_id="check_life", summary="Whether the process lives")
async def healthz() -> dict[str, str]:
    """Always ok while the process answers."""
    return {"status": "ok"}


@router.get(
    "/readyz",
    operation_id="check_readiness",
    summary="Whether Redis and the database answer",
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "One does not, or not within two seconds."}},
)
async def readyz(request: Request) -> JSONResponse:
    """503 and the name of what does not answer in time; the reason stands in the log, not here."""
    services: Services = request.app.state.services
    down: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_check, "redis", services.client.ping, down)
        tasks.start_soon(_check, "database", lambda: _ask(services), down)
    return JSONResponse({"status": "unavailable" if down else "ok", "down": sorted(down)}, 503 if down else 200)


async def _check(name: str, ask: Callable[[], object], down: list[str]) -> None:
    reason = f"no answer within {_READY_SECONDS:g} s"
    with anyio.move_on_after(_READY_SECONDS):
        try:
            # Left alone when it takes longer: the thread ends with its own timeout.
            await run_sync(ask, abandon_on_cancel=True)
            return
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
    log.warning("not ready", missing=name, error=reason)
    down.append(name)


def _ask(services: Services) -> None:
    with services.database.reading() as session:
        session.execute(text("select 1"))
