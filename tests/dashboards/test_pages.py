"""Every page, every link, in light and dark, on a wide screen and on a phone."""

from __future__ import annotations

from urllib.parse import urldefrag, urlsplit

import pytest
from playwright.sync_api import Page, expect

from dashboards.face import assets_path
from dashboards.pages import PAGES
from teknav_ops.access.policy import Operator, Role
from teknav_ops.topology import TOPOLOGY
from tests.dashboards.conftest import Visit
from tests.support.system import System

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]

#: Links below these lead to files or out of the pages.
NOT_PAGES = ("/api/", "/sign-out", "/metrics")
PLACES = ("queues", "queues/email:send", "queues/email:send?tab=failed", "queues/email:send?tab=dlq",
          "queues/email:send?tab=metrics", "queues/media:optimize/dlq", "replays", "workers", "alerts", "reports",
          "audit", "runbook/UnknownFile")  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _jobs(system: System) -> None:
    producer = system.services.producer(Operator("platform", Role.OWNER))
    producer.enqueue("email:send", "send-email", {"to": "a@example.com", "subject": "سلام", "text": "متن"}, delay=9_000)
    producer.enqueue("media:optimize", "optimize-image", {"file_id": 404})


def links(page: Page) -> set[str]:
    found = page.locator("a[href]").evaluate_all("nodes => nodes.map(node => node.href)")
    return {urldefrag(link)[0] for link in found if not link.startswith(("blob:", "javascript:"))}


def test_every_link_leads_to_a_page_that_opens(system: System, visit: Visit) -> None:
    visitor = visit()
    seen, waiting = set(), [f"{system.url}/dashboard/owner/{place}" for place in PLACES]
    opened: set[str] = set()
    while waiting:
        link = waiting.pop()
        path = urlsplit(link).path
        if link in seen or path.startswith(NOT_PAGES):
            continue
        seen.add(link)
        # A dozen queues look alike; one of each kind of page is enough, and each queue's own page.
        kind = path.replace(next((name for name in TOPOLOGY if name in path), "-"), "{queue}") + urlsplit(link).query
        if kind in opened and path.count("/") > 4:
            continue
        opened.add(kind)
        page = visitor.open(link.removeprefix(system.url))
        expect(page.locator(".skeleton"), link).to_have_count(0)
        expect(page.get_by_text("could not be loaded")).to_have_count(0)
        waiting += sorted(links(page) - seen)

    paths = {urlsplit(link).path for link in seen}
    assert {f"/dashboard/owner/queues/{queue}" for queue in TOPOLOGY} <= paths
    assert len(opened) >= len(PAGES)


@pytest.mark.parametrize("place", PLACES)
def test_a_page_fits_a_phone_and_is_dark_in_the_dark(visit: Visit, place: str) -> None:
    visitor = visit(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = visitor.open(f"/dashboard/owner/{place}")
    expect(page.locator(".skeleton")).to_have_count(0)

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert max(red, green, blue) < 60


def test_the_theme_that_was_chosen_stays(visit: Visit) -> None:
    visitor = visit(color_scheme="light")
    page = visitor.open("/dashboard/owner/queues")
    page.get_by_title("Dark").click()

    page = visitor.open("/dashboard/owner/workers")

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_filters_live_in_the_address_and_back_takes_them_back(visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues/email:send")
    page.locator("select[name=state]").select_option("delayed")
    expect(page.get_by_role("table", name="delayed jobs")).to_contain_text("send-email")
    assert "state=delayed" in page.url

    page.go_back()
    expect(page.get_by_text("No waiting jobs")).to_be_visible()

    page.go_forward()
    expect(page.get_by_role("table", name="delayed jobs")).to_be_visible()
    page.reload()
    expect(page.get_by_role("table", name="delayed jobs")).to_be_visible()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues")
    expect(page.get_by_role("table", name="Queues")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(list(TOPOLOGY)[1])

    page.keyboard.press("/")
    assert page.evaluate("""() => { let at = document.activeElement;
        while (at.shadowRoot) at = at.shadowRoot.activeElement; return at.name; }""") == "find"  # fmt: skip
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", level=1)).to_have_text("Workers")


def test_a_job_is_found_from_anywhere_by_its_id_or_trace(system: System, visit: Visit) -> None:
    producer = system.services.producer(Operator("platform", Role.OWNER))
    trace = "5a" * 16
    payload = {"to": "b@example.com", "subject": "x", "text": "y"}
    job = producer.enqueue("email:send", "send-email", payload, delay=9_000, trace_id=trace).job_id
    page = visit().open("/dashboard/owner/alerts")

    page.fill("[name=find]", job)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("send-email")
    expect(page.locator(".timeline")).to_contain_text("job.enqueued")

    page.fill("[name=find]", "0" * 32)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No job with this id or trace is kept")).to_be_visible()


def test_what_did_not_change_stays_the_same_object_and_is_not_drawn_again(system: System, visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues")
    compared = page.evaluate(
        """async (path) => {
            const {kept} = await import(path);
            const old = {rows: [{n: 1, hour: [0, 2]}, {n: 2, hour: []}], none: null, text: 'سلام'};
            const fresh = kept(old, {rows: [{n: 1, hour: [0, 2]}, {n: 3, hour: []}], none: null, text: 'سلام'});
            return [
                fresh === old, fresh.rows[0] === old.rows[0], fresh.rows[1] === old.rows[1], fresh.rows[1].n,
                fresh.rows[1].hour === old.rows[1].hour, kept(old, structuredClone(old)) === old,
                kept([], {}) instanceof Array, kept({a: undefined}, {b: undefined}).hasOwnProperty('b'),
                kept([1, 2], [1]).length, kept(null, [1]).length, kept({a: 1}, null),
            ];
        }""",
        f"{assets_path()}/js/client.js",
    )
    assert compared == [False, True, False, 3, True, True, False, True, 1, 1, None]

    row = page.locator("tr", has_text="otp:send")
    system.services.control(Operator("bench", Role.OWNER)).pause("otp:send")
    expect(row.get_by_title("Resume otp:send")).to_be_visible()
    system.services.control(Operator("bench", Role.OWNER)).resume("otp:send")
    expect(row.get_by_title("Pause otp:send")).to_be_visible()
