"""Every way into an app, taken from the app itself, so that a new one is tested without being named."""

from __future__ import annotations

import dataclasses
import re

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount, WebSocketRoute


@dataclasses.dataclass(frozen=True, order=True)
class Door:
    """One route: its method (WS for sockets) and a path with its parameters filled in."""

    method: str
    path: str


def doors_of(app: FastAPI) -> list[Door]:
    found: set[Door] = set()
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        path = _filled(context.path or getattr(route, "path", ""))
        if isinstance(route, Mount):
            found.add(Door("GET", f"{path}/some-file.js"))
        elif isinstance(route, WebSocketRoute) or type(route).__name__ == "APIWebSocketRoute":
            found.add(Door("WS", path))
        else:
            methods = context.methods or {"GET"}
            found.update(Door(method, path) for method in methods if method != "HEAD")
    return sorted(found)


def _filled(path: str) -> str:
    return re.sub(r"\{([^}:]+)(?::[^}]+)?\}", lambda name: "search:index" if name[1] == "queue" else "x1", path)
