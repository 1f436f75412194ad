"""The API's description: OpenAPI at /api/openapi.json, and pages to try it out at /api/docs, served from here."""

from __future__ import annotations

import functools
import html
from importlib import resources
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from teknav_ops.api.dependencies import identity_of
from teknav_ops.api.headers import own_scripts
from teknav_ops.api.problems import Problem
from teknav_ops.path_prefix import at, current_prefix

OPENAPI_URL: Final = "/api/openapi.json"
DOCS_URL: Final = "/api/docs"
_FILES_URL: Final = "/api/docs-files"
_PACKAGE: Final = "fastapi_offline"
_DESCRIPTION: Final = """
Everything the owner's dashboard does, and enqueueing for producers in any language.

Times are UTC. Names are snake_case; dead letters and stats have the names that the platform fixes (`originalQueue`,
`avgDurationMs`). Lists are paged by `cursor` and `limit`: go on with `next_cursor` until it is null. Errors are
problem details (RFC 9457): `type` names the kind and never changes, `detail` says what to do.

Sign in with a token (`Authorization: Bearer …`, made by `teknav tokens create`), or with the session cookie of the
dashboard, which needs the session's token as `X-CSRF-Token` with everything but reading. VIEWERs and OPERATORs read
with payloads, results and error texts masked; an OPERATOR acts on the queues that are theirs.
"""
_TAGS: Final = [
    {"name": "access", "description": "Who may do what."},
    {"name": "queues", "description": "What the queues are doing, and how they run."},
    {"name": "enqueue", "description": "Jobs from producers in any language."},
    {"name": "jobs", "description": "Jobs: listed, found, looked at, and acted on."},
    {"name": "dead letters", "description": "Jobs that were given up: by cause, then one by one."},
    {"name": "batch replays", "description": "Many dead letters replayed from a frozen list, at a rate."},
    {"name": "operations", "description": "Workers, the audit trail, alerts."},
    {"name": "realtime", "description": "What happens, as it happens."},
    {"name": "health", "description": "For load balancers and Prometheus."},
]
_SECURITY_SCHEMES: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "An API token, made by `teknav tokens create`."},
    "session": {
        "type": "apiKey", "in": "cookie", "name": "teknav_session",
        "description": "The dashboard's cookie (`__Host-teknav_session` over TLS, `__Secure-teknav_session-teknav` "
        "below `/teknav`), with `X-CSRF-Token` for changes.",
    },
}  # fmt: skip
_OPEN_TAGS: Final = {"/healthz", "/readyz"}


def install(app: FastAPI) -> None:
    """Describe the app, and serve the pages that show it."""
    app.openapi = functools.partial(_describe, app)  # type: ignore[method-assign]
    app.add_api_route(DOCS_URL, _page, include_in_schema=False)
    app.mount(_FILES_URL, StaticFiles(directory=_files()), name="api-docs")


def _files() -> Path:
    # Swagger UI comes as files in a wheel: FastAPI's own page would fetch it from a CDN.
    return Path(str(resources.files(_PACKAGE).joinpath("static")))


def _describe(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title="TekNav ops", version=app.version, description=_DESCRIPTION, routes=app.routes, tags=_TAGS,
            servers=[{"url": prefix}] if (prefix := current_prefix.get()) else None,
        )  # fmt: skip
        components = schema.setdefault("components", {})
        components["securitySchemes"] = _SECURITY_SCHEMES
        schemas = components.setdefault("schemas", {})
        problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= problem.pop("$defs", {}) | {"Problem": problem}
        # Our answer to an invalid request is a problem, too.
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        schema["security"] = [{"token": []}, {"session": []}]
        for path in _OPEN_TAGS & schema["paths"].keys():
            for operation in schema["paths"][path].values():
                operation["security"] = []
        app.openapi_schema = schema
    return app.openapi_schema


async def _page(request: Request) -> HTMLResponse:
    csrf_token = identity_of(request).csrf_token or ""
    return HTMLResponse(
        _PAGE.replace("{files}", at(_FILES_URL))
        .replace("{openapi}", at(OPENAPI_URL))
        .replace("{csrf_token}", html.escape(csrf_token, quote=True))
    )


#: The session's token goes along, so that what is tried out from here is let through.
_PAGE: Final = own_scripts("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="csrf-token" content="{csrf_token}">
<title>TekNav ops · API</title>
<link rel="stylesheet" href="{files}/swagger-ui.css">
<link rel="icon" href="data:,">
</head>
<body>
<div id="swagger-ui"></div>
<script src="{files}/swagger-ui-bundle.js"></script>
<script>
SwaggerUIBundle({
  url: "{openapi}", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null, docExpansion: "none",
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
  requestInterceptor: (request) => {
    const token = document.querySelector('meta[name="csrf-token"]').content;
    if (token) request.headers["X-CSRF-Token"] = token;
    return request;
  },
})
</script>
</body>
</html>
""")
