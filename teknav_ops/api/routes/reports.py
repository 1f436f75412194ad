"""Published reports, for people: pages that may do nothing in the visitor's name.

A page holds what a notebook put out. It gets a sandbox with an origin of its own, in which only our two scripts run.
"""

from __future__ import annotations

import gzip
from typing import Annotated, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import FileResponse, RedirectResponse, Response

from teknav_ops.api.dependencies import FromServices, MayRead, MayReadPayloads
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.problems import problem
from teknav_ops.reports.catalogue import UnknownReport
from teknav_ops.reports.page import inlined, policy_in
from teknav_ops.reports.store import ASSETS, LOG, META, NOTEBOOK, PAGE, ReportStore

#: Not a part of the REST API.
router = APIRouter(include_in_schema=False, route_class=ExactRoute)

_LIST: Final = "/dashboard/owner/reports"
_SANDBOX: Final = "sandbox allow-scripts allow-popups allow-popups-to-escape-sandbox allow-downloads"
_KINDS: Final = {
    NOTEBOOK: "application/x-ipynb+json", LOG: "text/plain; charset=utf-8", META: "application/json",
}  # fmt: skip
_Part = Annotated[str, Path(max_length=60)]


@router.get("/reports/")
@router.get("/reports/index.html")
async def to_list(_: MayRead) -> Response:
    """Pages link to the folder's index; here the list is a page of the dashboard."""
    return RedirectResponse(_LIST, 303)


@router.get("/reports/{name}/{run}/")
@router.get("/reports/{name}/{run}/{file}")
def show_report(
    name: _Part, run: _Part, services: FromServices, _: MayReadPayloads, request: Request, file: str = PAGE
) -> Response:  # fmt: skip
    """The page of a run, or another of its files. They may quote payloads and errors."""
    store = ReportStore(services.settings.report_root)
    try:
        path = store.file(name, run, file)
        if file != PAGE:
            return FileResponse(path, media_type=_KINDS[file], filename=f"{name}-{file}")
        text = path.read_text("utf-8")
    except (UnknownReport, FileNotFoundError) as error:
        return problem(404, "Unknown report", str(error) if isinstance(error, UnknownReport) else "")
    # A sandbox sends no cookies, so it could not fetch plotly.js from here: the page takes it along.
    text = inlined(text, store.root / ASSETS)
    headers = {"content-security-policy": f"{_SANDBOX}; {policy_in(text)}; frame-ancestors 'none'"}
    body = text.encode()
    if "gzip" in request.headers.get("accept-encoding", ""):
        # Here, in a thread: five megabytes would hold everybody up in the event loop.
        headers |= {"content-encoding": "gzip", "vary": "accept-encoding"}
        body = gzip.compress(body, 2)
    return Response(body, media_type="text/html; charset=utf-8", headers=headers)
