"""The FastAPI app: what stands around every route, and the routes that need no page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from anyio.to_thread import run_sync
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from teknav_ops.api import confirm, health, sign_in
from teknav_ops.api.guard import Guard, SocketCheck
from teknav_ops.api.headers import SecureHeaders
from teknav_ops.api.limits import BodyLimits
from teknav_ops.api.live import LiveConnections
from teknav_ops.api.origin import Origins
from teknav_ops.api.path_prefix import PathPrefix
from teknav_ops.api.problem_pages import ProblemPages
from teknav_ops.api.problems import install_problems
from teknav_ops.api.routes import include_routes
from teknav_ops.api.services import Services
from teknav_ops.api.static_cache import StaticCache


def create_api(services: Services, *, socket_checks: Sequence[SocketCheck] = ()) -> FastAPI:
    """The app behind its guard. `socket_checks` are the pages' own questions to their sockets."""
    live = LiveConnections(services.entrance)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        services.start()
        async with live.watching():
            yield
        await run_sync(services.stop)
        services.close()

    # Its own documentation pages would fetch scripts from elsewhere.
    app = FastAPI(
        title="TekNav ops", lifespan=lifespan, openapi_url="/api/openapi.json", docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.services, app.state.live = services, live
    install_problems(app)
    app.include_router(health.router)
    app.include_router(sign_in.router)
    app.include_router(confirm.router)
    if services.settings.oidc_issuer is not None:
        # Loaded only where a provider is set.
        from teknav_ops.api import oidc, sign_on

        app.state.sign_on = oidc.Provider(services.settings, services.client)
        app.include_router(sign_on.router)
    include_routes(app)
    _surround(app, services, live, socket_checks)
    return app


def _surround(app: FastAPI, services: Services, live: LiveConnections, socket_checks: Sequence[SocketCheck]) -> None:
    """From the inside out: the last one added meets a request first."""
    origins = Origins(services.settings)
    app.add_middleware(StaticCache)
    app.add_middleware(
        Guard, entrance=services.entrance, origins=origins, live=live, socket_checks=socket_checks,
        is_redis_away=lambda: services.redis_watch.is_away,
    )  # fmt: skip
    app.add_middleware(BodyLimits, limit_bytes=services.settings.request_limit_bytes)
    app.add_middleware(SecureHeaders, origins=origins)
    app.add_middleware(ProblemPages)
    app.add_middleware(GZipMiddleware, compresslevel=5)
    app.add_middleware(PathPrefix, prefix=services.settings.path_prefix)
