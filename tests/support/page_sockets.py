"""Sockets as a browser's page opens them, and the tokens that pages carry."""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
from bokeh_fastapi.handler import DocHandler
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.waiting import ANSWER_SECONDS
from tests.support.web import Web

QUEUES: Final = "/dashboard/owner/queues"


def socket(
    web: Web, path: str, browser: httpx.Client | None = None, *, origin: str | None = "own", **options: Any
) -> ClientConnection:
    """Open a socket as a browser's page would."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in browser.cookies.jar) if browser else ""
    headers = {**options.pop("headers", {}), **({"Cookie": cookies} if cookies else {})}
    return connect(
        f"ws://127.0.0.1:{web.port}{path}", additional_headers=headers,
        origin=web.url if origin == "own" else origin, open_timeout=ANSWER_SECONDS, **options,
    )  # type: ignore[arg-type]  # fmt: skip


def is_refused(web: Web, path: str, browser: httpx.Client | None = None, **options: Any) -> bool:
    """Whether the handshake is answered with 403."""
    try:
        with socket(web, path, browser, **options):
            return False
    except InvalidStatus as error:
        assert error.response.status_code == 403
        return True


def pages_of(app: FastAPI) -> list[Any]:
    """Bokeh's contexts: one per page, each with its open documents."""
    handlers = [getattr(context.endpoint, "__self__", None) for context in iter_route_contexts(app.routes)]
    return [handler.application_context for handler in handlers if isinstance(handler, DocHandler)]


def page_token(page: str) -> str:
    found = re.search(r'"token":\s*"([^"]+)"', page)
    assert found, page[:2_000]
    return found[1]
