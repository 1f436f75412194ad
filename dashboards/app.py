"""The owner's web app: REST, SSE, WebSocket and the pages, behind one guard."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import panel as pn
from fastapi import FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from panel.io.fastapi import add_applications
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from dashboards.face import ASSETS, assets_path
from dashboards.feed import Feed
from dashboards.open_page import OpenPage
from dashboards.page import ROOT, Page
from dashboards.pages import PAGES
from dashboards.reads import SharedReads
from dashboards.sheet import SHEET, sheet_variables
from dashboards.sockets import OwnPages, mend_sockets, page_key
from dashboards.sources import Sources
from dashboards.visit import Visit
from teknav_ops.access.identity import identity_now
from teknav_ops.api.app import create_api
from teknav_ops.api.problems import problem
from teknav_ops.api.services import Services
from teknav_ops.settings import get_settings

#: Threads that load pages and do what visitors ask; Redis answers in a millisecond or two.
_THREAD_COUNT: Final = 16


class KeptFiles(StaticFiles):
    """Files whose address changes with their content: kept by browsers for ever."""

    def file_response(self, *args: Any, **kwargs: Any) -> Any:
        """As ever, with leave to keep it."""
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def create_app() -> FastAPI:
    """The app of this process, from its settings; what `teknav serve` runs."""
    services = Services(get_settings())
    app = create_api(services, socket_checks=[OwnPages(services.settings)])
    add_pages(app, services)
    return app


def add_pages(app: FastAPI, services: Services) -> None:
    """Serve the pages and what they are drawn with."""
    sources = Sources(services)
    reads = SharedReads()
    feed = Feed(reads, services.redis_watch)
    threads = ThreadPoolExecutor(_THREAD_COUNT, thread_name_prefix="dashboard")
    app.mount(assets_path(), KeptFiles(directory=ASSETS), name="assets")
    for path in ("/", "/dashboard", "/dashboard/", ROOT, f"{ROOT}/"):
        app.add_api_route(path, _to_queues, include_in_schema=False)
    app.add_api_route("/favicon.ico", _icon, include_in_schema=False)
    pages: dict[str, Any] = {f"{ROOT}/{page.path}": _opener(page, sources, reads, feed, threads) for page in PAGES}
    # Panel would import whatever module an address names; our pages need none of it.
    app.add_api_route("/components/{path:path}", _nothing, include_in_schema=False)
    mend_sockets()
    key = page_key(services.settings)
    add_applications(pages, app=app, sign_sessions=True, secret_key=key)
    app.state.feed = feed
    services.hub.listen(feed.heard)
    feed.start()


def _icon() -> FileResponse:
    return FileResponse(ASSETS / "icon.svg", media_type="image/svg+xml")


def _nothing(path: str) -> Response:
    return problem(404, "Not found", f"There is no {path[:200]} here.")


def _to_queues() -> RedirectResponse:
    return RedirectResponse(f"{ROOT}/queues", status_code=303)


def _opener(
    page_class: type[Page], sources: Sources, reads: SharedReads, feed: Feed, threads: ThreadPoolExecutor
) -> Callable[[], Any]:
    def open_page() -> Any:
        identity = identity_now()
        document = pn.state.curdoc
        assert document is not None
        query = {name: values[-1].decode() for name, values in pn.state.session_args.items()}
        visit = Visit(sources, identity, reads, dict(pn.state.route_params), query)
        page = page_class(visit)
        opened = OpenPage(
            page, document, threads,
            current_identity=lambda: sources.current(identity), note_use=lambda: sources.services.note_use(identity),
        )  # fmt: skip
        document.template = SHEET
        document.template_variables.update(sheet_variables(sources.services.settings.path_prefix))

        def leave(_: Any) -> None:
            feed.leave(opened)
            opened.close()

        document.on_session_destroyed(leave)
        feed.join(opened)
        return opened.face

    open_page.__name__ = f"open_{page_class.name}"
    return open_page
