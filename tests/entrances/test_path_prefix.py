"""Below a path, behind a proxy that passes it on or strips it: nothing that is answered leads out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import httpx
import pytest

from dashboards.app import add_pages
from dashboards.sockets import OwnPages
from teknav_ops.access.policy import Role
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.path_prefix import OWN_SEGMENTS
from tests.entrances.callers import Callers
from tests.support.entry_points import SAFE, EntryPoint
from tests.support.web import PASSWORD, Web, field, served

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")

PREFIX = "/teknav/ops"
COOKIE = "__Secure-teknav_session-teknav-ops"
#: What the proxy says.
HEADERS = {"host": "ops.example", "x-forwarded-proto": "https", "accept": "text/html"}
HOME = f"{PREFIX}/dashboard/owner/queues"
_ADDRESS = re.compile(r"""\b(?:href|src|action)=["'](/[^"']*)|"teknav/": ?"(/[^"]*)""")


@pytest.fixture(scope="module")
def below(web: Web) -> Iterator[Web]:
    """The same installation, served by a process that is reached below a path."""
    settings = web.services.settings.model_copy(update={"web_public_url": f"https://ops.example{PREFIX}"})
    services = Services(settings)
    services.background.start = lambda: None  # type: ignore[method-assign]
    app = create_api(services, socket_checks=[OwnPages(settings)])
    add_pages(app, services)
    app.openapi_schema = {"openapi": "3.1.0"}
    with served(app) as running:
        yield running
        app.state.feed.stop()


@pytest.fixture
def browser(below: Web) -> httpx.Client:
    opened = below.browser()
    opened.headers.update(HEADERS)
    return opened


def led_to(answer: httpx.Response) -> list[str]:
    """Every path of this host that an answer names."""
    found = re.findall(r"(?i); path=([^;]*)", " ".join(answer.headers.get_list("set-cookie")))
    found += [answer.headers["location"]] if "location" in answer.headers else []
    if answer.headers.get("content-type", "").startswith("text/html"):
        found += [unescape(link or asset) for link, asset in _ADDRESS.findall(answer.text)]
    return [path for path in found if not path.startswith(("https://", "#", "data:"))]


@pytest.mark.parametrize("prefix", [PREFIX, ""], ids=["passed on", "stripped"])
def test_no_answer_leads_out_of_the_prefix(
    below: Web, browser: httpx.Client, callers: Callers, entry_points: list[EntryPoint], prefix: str
) -> None:
    cookie = dict(callers["owner"].headers)["cookie"].partition("=")[2]
    pages, outside = 0, []
    for entry in entry_points:
        if entry.method not in SAFE or entry.is_stream:
            continue
        for carried in ({}, {"cookie": f"{COOKIE}={cookie}"}):
            answer = browser.get(prefix + entry.path, headers=carried)
            assert answer.status_code < 500 and (answer.status_code != 303 or carried or led_to(answer)), entry
            found = led_to(answer)
            pages += bool(found)
            outside += [(entry.path, path) for path in found if not f"{path}/".startswith(f"{PREFIX}/")]
            browser.cookies.clear()
    assert outside == []
    assert pages > 40


def test_the_list_of_our_own_first_segments_is_whole(entry_points: list[EntryPoint]) -> None:
    """A prefix that begins as one of our paths could not be told from a path without a prefix."""
    only_with_sign_on = {"oidc"}
    assert {entry.path.split("/")[1] for entry in entry_points} - {""} == OWN_SEGMENTS - only_with_sign_on


def test_a_person_signs_in_goes_on_where_they_wanted_and_signs_out_below_the_prefix(
    below: Web, browser: httpx.Client
) -> None:
    below.add_user("below", Role.OWNER)
    led = browser.get(f"{PREFIX}/dashboard/owner/audit?trace=1")
    assert led.headers["location"] == f"{PREFIX}/sign-in?next=%2Fdashboard%2Fowner%2Faudit%3Ftrace%3D1"
    form = {"name": "below", "password": PASSWORD, "next": field(browser.get(led.headers["location"]).text, "next")}
    answer = browser.post(f"{PREFIX}/sign-in", data=form, headers={"origin": "https://ops.example"})
    assert answer.headers["location"] == f"{PREFIX}/dashboard/owner/audit?trace=1"
    name, _, parts = answer.headers["set-cookie"].partition("=")
    value, *parts = parts.split("; ")
    assert name == COOKIE and {"Secure", "HttpOnly", f"Path={PREFIX}"} <= set(parts)

    carried = {"cookie": f"__Host-teknav_session=another; {COOKIE}={value}; teknav_session=third"}
    page = browser.get(HOME, headers=carried)
    assert page.status_code == 200 and value not in page.text and "another" not in page.text
    for other in ("__Host-teknav_session", "__Secure-teknav_session", "teknav_session"):
        assert browser.get(HOME, headers={"cookie": f"{other}={value}"}).status_code == 303

    csrf = below.services.entrance.by_cookie(value, is_use=False).csrf_token  # type: ignore[union-attr]
    out = browser.post(
        f"{PREFIX}/sign-out", data={"csrf_token": csrf}, headers={**carried, "origin": "https://ops.example"}
    )
    assert out.headers["location"] == f"{PREFIX}/sign-in"
    assert out.headers["set-cookie"].startswith(f'{COOKIE}=""') and f"Path={PREFIX};" in out.headers["set-cookie"]


@pytest.mark.parametrize(
    ("next", "wanted"),
    [
        ("/dashboard/owner/audit", f"{PREFIX}/dashboard/owner/audit"),
        (f"{PREFIX}/dashboard/owner/audit", f"{PREFIX}/dashboard/owner/audit"),
        ("https://evil.example/", HOME),
        ("//evil.example/", HOME),
        (f"{PREFIX}//evil.example/", f"{PREFIX}//evil.example/"),
    ],
)
def test_where_one_goes_after_signing_in(browser: httpx.Client, callers: Callers, next: str, wanted: str) -> None:
    cookie = dict(callers["owner"].headers)["cookie"].partition("=")[2]
    answer = browser.get(f"{PREFIX}/sign-in", params={"next": next}, headers={"cookie": f"{COOKIE}={cookie}"})
    assert answer.headers["location"] == wanted


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        (PREFIX, HOME),
        (f"{PREFIX}/api/owner/workers/", f"{PREFIX}/api/owner/workers"),
        (f"{PREFIX}//evil.example/api/owner/workers/", None),
        (f"{PREFIX}s/healthz", None),
        (f"{PREFIX}{PREFIX}/healthz", None),
    ],
)
def test_a_slash_too_many_leads_to_the_same_site_and_no_other_path_is_ours(
    browser: httpx.Client, callers: Callers, asked: str, wanted: str | None
) -> None:
    cookie = dict(callers["owner"].headers)["cookie"].partition("=")[2]
    answer = browser.get(asked, headers={"cookie": f"{COOKIE}={cookie}"})
    assert answer.headers.get("location") == wanted
    assert answer.status_code in ((303, 307) if wanted else (404,))


def test_programs_are_answered_below_the_prefix(below: Web, callers: Callers) -> None:
    token = dict(callers["token read, act and enqueue"].headers)
    with httpx.Client(base_url=below.url, headers={**token, "host": "ops.example"}, timeout=20) as client:
        sent = {"job": "send-email", "payload": {"to": "reader@example.com", "subject": "hello", "text": "hello"}}
        made = client.post(f"{PREFIX}/api/owner/queues/email:send/jobs", json=sent)
        assert made.status_code == 201, made.text
        assert made.headers["location"].startswith(f"{PREFIX}/api/owner/queues/email:send/jobs/")
        assert client.get(made.headers["location"]).status_code == 200
        below.app.openapi_schema = None
        assert client.get(f"{PREFIX}/api/openapi.json").json()["servers"] == [{"url": PREFIX}]
        below.app.openapi_schema = {"openapi": "3.1.0"}
