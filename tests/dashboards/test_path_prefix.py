"""Pages below a path, in a browser, behind a proxy that ends TLS and shares its host."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect

from dashboards.app import add_pages
from dashboards.face import ASSETS
from dashboards.page import ROOT
from dashboards.sockets import OwnPages
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from tests.support.browser import Visitor
from tests.support.reverse_proxy import ReverseProxy
from tests.support.system import System
from tests.support.web import PASSWORD, served

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")]

PREFIX = "/teknav"
#: What leads a browser somewhere without being a link or a form.
_LEADING = re.compile(
    r"(?:location\.assign\(|location\.href\s*=|window\.open\(|fetch\(|EventSource\(|WebSocket\()(.{0,9})"
)


@pytest.fixture(params=[True, False], ids=["stripped", "passed on"])
def proxy(request: pytest.FixtureRequest, system: System, tmp_path: Path) -> Iterator[ReverseProxy]:
    with ReverseProxy(tmp_path, PREFIX, strips=request.param) as running:
        settings = system.settings.model_copy(update={"web_public_url": running.url})
        services = Services(settings)
        app = create_api(services, socket_checks=[OwnPages(settings)])
        add_pages(app, services)
        with served(app) as web:
            running.server_port = web.port
            yield running
            app.state.feed.stop()


def test_pages_links_forms_and_sockets_stay_below_the_path(
    system: System, browser: Browser, proxy: ReverseProxy
) -> None:
    visitor = Visitor(browser, proxy.url, ignore_https_errors=True)
    sockets: list[str] = []
    page = visitor.page
    page.on("websocket", lambda socket: sockets.append(socket.url))
    name = f"below-{proxy.port}"
    system.add_user(name)

    visitor.sign_in(name, PASSWORD)
    expect(page).to_have_url(f"{proxy.url}{ROOT}/queues")
    expect(page.get_by_role("row")).not_to_have_count(0)
    expect(page.get_by_role("link", name="search:index").first).to_be_visible()
    addresses = page.locator("a[href], form[action]").evaluate_all(
        "nodes => nodes.map(node => node.tagName === 'A' ? node.href : node.action)"
    )
    assert len(addresses) > 25
    assert [address for address in addresses if not urlsplit(address).path.startswith(f"{PREFIX}/")] == []
    assert [(cookie["name"], cookie["path"]) for cookie in visitor.context.cookies()] == [
        ("__Secure-teknav_session-teknav", PREFIX)
    ]

    # A row opens its queue by Enter, which no link does.
    page.get_by_role("row").filter(has_text="search:index").press("Enter")
    page.wait_for_url(f"{proxy.url}{ROOT}/queues/search:index*")
    expect(page.get_by_role("heading", name="search:index")).to_be_visible()
    page.goto(f"{proxy.url}{ROOT}/runbook")
    links = page.get_by_role("article").get_by_role("link")
    expect(links).not_to_have_count(0)
    assert all(link.startswith(f"{PREFIX}/") for link in links.evaluate_all("all => all.map(a => a.pathname)"))
    page.get_by_title("Who is signed in").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url(f"{proxy.url}/sign-in")

    assert len(sockets) == 3 and all(urlsplit(url).path.startswith(f"{PREFIX}{ROOT}/") for url in sockets)
    assert proxy.strays == [] and visitor.troubles == []
    visitor.close()


def test_a_script_asks_for_the_path_where_it_leads_somewhere() -> None:
    scripts = list((ASSETS / "js").rglob("*.js"))
    leading = [(path.name, found[1]) for path in scripts for found in _LEADING.finditer(path.read_text("utf-8"))]
    assert len(leading) > 3
    assert [each for each in leading if not each[1].startswith("at(")] == []
