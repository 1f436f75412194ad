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
    "/readyz", summary="Whether Redis and the database answer.", responses={503: {"description": "One does not."}}
)
def readyz(request: Request) -> JSONResponse:
    """503 and the name of what does not answer; the reason stands in the log, not here."""
    services: Services = request.app.state.services
    checks = {"redis": services.client.ping, "database": lambda: _ask(services)}
    down = []
    for name, check in checks.items():
        try:
            check()
        except Exception as error:
            log.warning("not ready", missing=name, error=f"{type(error).__name__}: {error}")
            down.append(name)
    return JSONResponse({"status": "unavailable" if down else "ok", "down": down}, 503 if down else 200)


def _ask(services: Services) -> None:
    with services.database.reading() as session:
        session.execute(text("select 1"))
