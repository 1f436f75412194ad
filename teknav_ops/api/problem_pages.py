"""Problems as pages: who opens an address in a browser reads sentences and finds a way on, not JSON."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Final

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teknav_ops.api.methods import SAFE_METHODS
from teknav_ops.api.problems import MEDIA_TYPE
from teknav_ops.api.visit import wants_page
from teknav_ops.path_prefix import at, current_prefix

_CONTENT: Final = Template((Path(__file__).parent / "pages" / "problem.html").read_text("utf-8"))
_FRAME: Final = Template((Path(__file__).parent / "pages" / "frame.html").read_text("utf-8"))
_RETRY_SECONDS: Final = 3
_PLACES: Final = ("queues", "dlq", "replays", "workers", "alerts", "reports", "audit")
_NAMES: Final = {"dlq": "Dead letters"}
_DETAILS: Final = {404: "There is no page at this address.", 405: "This address cannot be opened in a browser."}
#: Of the answer that the page takes the place of: they describe its body.
_OF_THE_BODY: Final = (b"content-type", b"content-length")


class ProblemPages:
    """ASGI middleware: problem details become a page where a browser's window asked. Programs get their JSON."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on but problems."""
        if scope["type"] != "http" or not wants_page(scope, Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        start: Message | None = None
        body: list[bytes] = []

        async def send_readable(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_problem(message):
                start = message
            elif start is None:
                await send(message)
            else:
                body.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await problem_page(scope, start, json.loads(b"".join(body)))(scope, receive, send)

        await self._app(scope, receive, send_readable)


def _is_problem(start: Message) -> bool:
    return Headers(raw=start["headers"]).get("content-type", "").startswith(MEDIA_TYPE)


def problem_page(scope: Scope, start: Message, problem: dict[str, Any]) -> Response:
    """The page that says what the problem says, with the problem's own status and headers."""
    status = int(start["status"])
    is_asked_again = status == 503 and scope["method"] in SAFE_METHODS
    detail = str(problem.get("detail") or _DETAILS.get(status, ""))
    content = _CONTENT.substitute(detail=escape(detail), next=_retry() if is_asked_again else _ways_on(status))
    page = _FRAME.substitute(
        site=current_prefix.get(),
        title=escape(str(problem["title"])),
        error="",
        content=content,
        refresh=_refresh() if is_asked_again else "",
    )
    answer = HTMLResponse(page, status)
    answer.raw_headers += [(name, value) for name, value in start["headers"] if name.lower() not in _OF_THE_BODY]
    return answer


def _refresh() -> str:
    return f'<meta http-equiv="refresh" content="{_RETRY_SECONDS}">'


def _retry() -> str:
    return f'<p class="hint">This page tries again every {_RETRY_SECONDS} seconds.</p>'


def _ways_on(status: int) -> str:
    if status == 401:
        return f'<p><a href="{at("/sign-in")}">Sign in</a></p>'
    names = ((place, _NAMES.get(place, place.capitalize())) for place in _PLACES)
    links = (f'<li><a href="{at(f"/dashboard/owner/{place}")}">{name}</a></li>' for place, name in names)
    return f'<nav aria-label="Pages"><ul class="ways">{"".join(links)}</ul></nav>'
