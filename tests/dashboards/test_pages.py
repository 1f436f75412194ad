"""Every page, in the dark and on a phone; every link; keyboard, filters and search."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import UTC, datetime
from html import escape
from urllib.parse import quote, urldefrag, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from dashboards.changes import change
from dashboards.face import assets_path
from dashboards.page import ROOT
from dashboards.pages import PAGES
from teknav_ops.access.policy import Operator, Role
from teknav_ops.alerts.queries import ListedAlert
from teknav_ops.alerts.rules import RULE_KINDS
from teknav_ops.jobs.dead_letter_causes import Causes, DeadLetterGroup
from teknav_ops.jobs.sketch import of_few
from teknav_ops.topology import TOPOLOGY
from tests.dashboards.addresses import kind_at, page_at
from tests.dashboards.conftest import Visit
from tests.dashboards.jobs import PLATFORM, failed_jobs
from tests.support.browser import Visitor
from tests.support.system import TREE, System
from tests.support.waiting import until
from tests.support.web import PASSWORD

pytestmark = pytest.mark.timeout(300)

#: Links below these lead to files or out of the pages.
NOT_PAGES = ("/api/", "/reports/", "/sign-out", "/metrics")
PLACES = (
    "queues",
    "queues/email:send",
    "queues/email:send?tab=failed",
    "queues/email:send?tab=dlq",
    "queues/email:send?tab=metrics",
    "queues/email:send?tab=metrics&range=24h",
    "queues/email:send/jobs/{delayed}",
    "dlq",
    "queues/search:index/dlq",
    "replays",
    "workers",
    "alerts",
    "reports",
    "audit",
    "account",
    "access",
    "runbook",
    "runbook/UnknownFile",
    "runbook/alerts/OldestWaitingAge",
)


FOCUSED = """() => { let at = document.activeElement;
    while (at.shadowRoot) at = at.shadowRoot.activeElement; return at.name || at.id; }"""
#: What a screen reader would have no word for: headings, progress, tables, buttons, links, fields without a name.
UNNAMED = """() => {
    const all = [];
    for (const roots = [document]; roots.length;) {
        for (const node of roots.pop().querySelectorAll('*')) {
            all.push(node);
            if (node.shadowRoot) roots.push(node.shadowRoot);
        }
    }
    const isNamed = (node) => (node.ariaLabel ?? '') + node.title + node.textContent.trim()
        || node.querySelector('[aria-label]') || node.closest('label');
    const isFree = (node) => node.type === 'hidden';
    const needs = 'th, [role=progressbar], button, a, input, select, textarea';
    const lacks = {TH: (node) => !isNamed(node) || !node.scope, TABLE: (node) => !node.ariaLabel};
    const isSilent = (node) => (lacks[node.tagName] ?? ((node) => node.matches(needs) && !isNamed(node)))(node);
    const silent = all.filter((node) => !isFree(node) && isSilent(node));
    const doubly = all.filter((node) => node.tagName === 'TR' && node.querySelectorAll('th[aria-sort]').length > 1);
    return [...silent, ...doubly].map((node) => node.outerHTML.slice(0, 120));
}"""


#: How much of a canvas is as red as what says how much failed.
RED_PIXELS = """(canvas) => {
    const parts = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    let count = 0;
    for (let at = 0; at < parts.length; at += 4) count += parts[at] - parts[at + 1] > 80 && parts[at + 3] > 100;
    return count;
}"""


@pytest.fixture(scope="module")
def delayed(system: System) -> str:
    """The id of a job that is due in some hours; and some have failed."""
    failed_jobs(system, 2)
    mail = {"to": "a@example.com", "subject": "سلام", "text": "متن"}
    return system.services.producer(PLATFORM).enqueue("email:send", "send-email", mail, delay=9_000).job_id


def links(page: Page) -> set[str]:
    """Where the page's links to other pages lead."""
    found = page.locator("a[href]").evaluate_all("nodes => nodes.map(node => node.href)")
    paths = {urldefrag(link)[0] for link in found if not link.startswith(("blob:", "javascript:"))}
    return {path for path in paths if not urlsplit(path).path.startswith(NOT_PAGES)}


@pytest.mark.parametrize("place", PLACES)
def test_a_page_fits_a_phone_is_dark_in_the_dark_names_its_parts_and_its_links_lead_to_pages_that_load(
    system: System, visit: Visit, delayed: str, place: str
) -> None:
    visitor = visit()
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.page.emulate_media(color_scheme="dark")
    page = visitor.open(f"{ROOT}/{place.format(delayed=delayed)}")
    expect(page.locator(".skeleton")).to_have_count(0)
    expect(page.get_by_text("could not be loaded")).to_have_count(0)
    expect(page.get_by_text("This cannot be shown", exact=True)).to_have_count(0)

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")[:3]
    assert max(red, green, blue) < 60

    assert page.evaluate(UNNAMED) == []
    assert page.title() == f"{page_at(system, page.url).title()} · TekNav ops"
    for name in ("Reports", "Audit"):
        expect(page.get_by_role("navigation", name="Places").get_by_role("link", name=name)).to_be_in_viewport(ratio=1)

    found = links(page)
    for link in sorted(found):
        assert page_at(system, link).load(), link
    if place == "queues":
        assert {f"{system.url}{ROOT}/queues/{queue}" for queue in TOPOLOGY} <= found


def test_a_value_that_stands_alone_is_drawn_as_a_point(system: System, visit: Visit) -> None:
    failed_jobs(system, 2)
    page = visit().open(f"{ROOT}/queues/search:index?tab=metrics&range=24h")
    canvas = page.get_by_role("figure", name="Error rate").locator("canvas")

    expect(canvas).to_be_visible()

    until(lambda: canvas.evaluate(RED_PIXELS) > 0, what="a red point")


def test_each_kind_of_page_is_looked_at() -> None:
    assert {kind_at(f"{ROOT}/{place}")[0] for place in PLACES} == set(PAGES)


@pytest.mark.parametrize("folder", ["", "alerts/"])
def test_every_link_between_runbook_pages_leads_to_one(system: System, folder: str) -> None:
    pages = sorted((TREE / "docs" / "runbook" / folder).glob("*.md"))
    assert pages
    for path in pages:
        html = page_at(system, f"{ROOT}/runbook/{folder}{path.stem}").load()["html"]
        for link in re.findall(r'href="(/[^"]*)"', html):
            assert page_at(system, link).load(), f"{path.name}: {link}"
        assert not re.search(r'href="[^"]*\.md', html)


def test_an_error_type_of_other_code_leads_to_a_page_that_says_so(system: System) -> None:
    for name in ("ZeroDivisionError", "x" * 170, "a&lt;<b>"):
        html = page_at(system, f"{ROOT}/runbook/{quote(name)}").load()["html"]
        assert "its stack trace says where" in html and escape(name) in html and "<b>" not in html


def test_each_kind_of_alert_has_a_runbook_page_and_its_row_a_link_there(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = page_at(system, f"{ROOT}/alerts")
    kinds = [*RULE_KINDS, "report_failed", "report_late", "report_limit"]
    monkeypatch.setattr(page.visit.sources.alerts, "open", lambda: [listed_alert(kind) for kind in kinds])
    rows = page.load()["open"]
    assert sorted(row["kind"] for row in rows) == sorted(kinds)
    for row in rows:
        assert page_at(system, row["runbook"]).load(), row["kind"]


@pytest.mark.parametrize(
    ("state", "words"), [("missing", "No scheduler runs"), ("starting", "starting"), ("publishes", "")]
)
def test_nothing_is_called_well_while_nobody_looks_at_the_rules(
    system: System, monkeypatch: pytest.MonkeyPatch, state: str, words: str
) -> None:
    page = page_at(system, f"{ROOT}/alerts")
    monkeypatch.setattr(page.visit.sources, "scheduler", lambda: state)
    unwatched = page.load()["unwatched"]
    assert words in unwatched and bool(unwatched) == bool(words)


@pytest.mark.parametrize("place", ["dlq", "queues/search:index/dlq", "queues/search:index?tab=dlq"])
def test_of_thousands_of_causes_the_most_frequent_are_listed_and_the_others_counted(
    system: System, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    groups = [DeadLetterGroup(f"Kind{n % 3}", f"f{n}", n, at, at, "no answer " * 20) for n in range(3_000, 0, -1)]
    by_type = {f"Kind{kind}": sum(range(kind or 3, 3_001, 3)) for kind in range(3)}
    page = page_at(system, f"{ROOT}/{place}")
    monkeypatch.setattr(
        page.visit.sources.dead_letters,
        "causes",
        lambda queue, limit: Causes(groups[:limit], 3_000, by_type) if queue == "search:index" else Causes([], 0, {}),
    )
    causes = page.load()["causes"]
    assert [row["count"] for row in causes["rows"]] == list(range(3_000, 2_900, -1))
    assert causes["rarer"] == {"causes": 2_900, "letters": sum(range(1, 2_901))}
    assert causes["total"] == sum(range(1, 3_001)) and causes["types"] == ["Kind0", "Kind1", "Kind2"]
    assert len(json.dumps(causes, default=str)) < 100_000


def listed_alert(kind: str) -> ListedAlert:
    """An open alert of this kind; what else is known of it does not matter."""
    values = {field.name: None for field in dataclasses.fields(ListedAlert)}
    return ListedAlert(**(values | {"kind": kind}))  # type: ignore[arg-type]


def test_a_person_signs_in_and_the_theme_that_was_chosen_stays(system: System, browser: Browser) -> None:
    visitor = Visitor(browser, system.url, color_scheme="light")
    system.add_user("reader")
    visitor.sign_in("reader", PASSWORD)
    visitor.page.get_by_title("Dark").click()

    page = visitor.open(f"{ROOT}/workers")

    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert visitor.troubles == []
    visitor.close()


@pytest.mark.usefixtures("delayed")
def test_filters_live_in_the_address_and_back_takes_them_back(visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues/email:send")
    # Without a filter it opens on what is there.
    expect(page.get_by_role("table", name="delayed jobs")).to_contain_text("send-email")
    page.locator("select[name=state]").select_option("cancelled")
    expect(page.get_by_text("No cancelled jobs")).to_be_visible()
    assert "state=cancelled" in page.url

    page.go_back()
    expect(page.get_by_role("table", name="delayed jobs")).to_be_visible()

    page.go_forward()
    expect(page.get_by_text("No cancelled jobs")).to_be_visible()
    page.reload()
    expect(page.get_by_text("No cancelled jobs")).to_be_visible()


def test_the_keyboard_is_enough(visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues")
    expect(page.get_by_role("table", name="Queues")).to_be_visible()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "main"
    page.get_by_role("button", name="Queue", exact=True).press("Enter")
    expect(page.get_by_role("columnheader", name="Queue", exact=True)).to_have_attribute("aria-sort", "ascending")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(sorted(TOPOLOGY)[1])
    for key, tab in (("ArrowRight", "Failed"), ("End", "Metrics"), ("ArrowRight", "Jobs"), ("ArrowLeft", "Metrics")):
        page.locator("[role=tab][tabindex='0']").press(key)
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("tab", name=tab)).to_be_focused()

    page.keyboard.press("/")
    assert page.evaluate(FOCUSED) == "find"
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("w")
    expect(page.get_by_role("heading", level=1)).to_have_text("Workers")


def test_a_job_is_found_from_anywhere_by_its_id_or_trace(system: System, visit: Visit) -> None:
    producer = system.services.producer(PLATFORM)
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


def test_what_did_not_change_is_not_drawn_again_and_rates_that_stand_together_have_one_unit(
    system: System, visit: Visit
) -> None:
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

    rows = [{"id": name, "n": [1, {"x": name}]} for name in "abcdef"]
    states = [
        {"rows": rows, "text": "سلام", "none": None},
        {"rows": [{"id": "new"}, *rows[:3], {**rows[4], "n": 2}], "text": "سلام", "none": {"v": 1}},
        {"rows": [], "hour": [0, 2], "none": {"d": {}}},
        {"rows": rows[::-1], "hour": [0, 3], "l": [[1, 2]]},
        {},
    ]
    pairs = [[old, change(old, new), new] for old in states for new in states if old != new]
    rebuilt = page.evaluate(
        """async ([path, pairs]) => {
            const {applied} = await import(path);
            return pairs.map(([old, part]) => applied(old, part));
        }""",
        [f"{assets_path()}/js/client.js", pairs],
    )
    assert rebuilt == [new for _, _, new in pairs]

    read = page.evaluate(
        """async (path) => {
            const {rateUnit} = await import(path);
            const groups = [[0, 0.05], [0, 2.5, 0.05], [0, 0], [null, 0.5], []];
            return groups.map((group) => [rateUnit(group).name, ...group.map(rateUnit(group).text)]);
        }""",
        f"{assets_path()}/js/format.js",
    )
    assert read == [
        ["min", "0/min", "3/min"], ["s", "0/s", "2.5/s", "0.05/s"], ["min", "0/min", "0/min"], ["min", "–", "30/min"],
        ["min"],
    ]  # fmt: skip
    totals = page.get_by_role("region", name="Totals").locator("b")
    assert len({text.partition("/")[2] for text in totals.all_inner_texts()[:2]}) == 1

    row = page.locator("tr", has_text="workflows:run")
    system.services.control(Operator("bench", Role.OWNER)).pause("workflows:run")
    expect(row.get_by_title("Resume workflows:run")).to_be_visible()
    system.services.control(Operator("bench", Role.OWNER)).resume("workflows:run")
    expect(row.get_by_title("Pause workflows:run")).to_be_visible()


def test_the_queue_on_fire_comes_first_and_each_column_sorts_both_ways(system: System) -> None:
    failed_jobs(system, 30, queue="ai:review")
    rows = page_at(system, f"{ROOT}/queues").load()["queues"]
    assert [row["ofFew"] for row in rows] == [of_few(row["runs"]) for row in rows]
    names = [row["name"] for row in rows]
    quiet = [row["name"] for row in rows if not (row["dlq"] or row["waiting"] or row["delayed"] or row["isPaused"])]
    assert names.index("ai:review") < min(map(names.index, quiet))

    def column(name: str, order: str, key: str) -> list[object]:
        found = page_at(system, f"{ROOT}/queues?sort={name}&order={order}").load()
        assert (found["sort"], found["order"]) == (name, order)
        return [row[key] for row in found["queues"]]

    for name, key in (("name", "name"), ("dlq", "dlq"), ("failed_rate", "failed_rate")):
        assert column(name, "asc", key) == sorted(column(name, "asc", key))  # type: ignore[type-var]
        assert column(name, "desc", key) == sorted(column(name, "desc", key), reverse=True)  # type: ignore[type-var]
    for order in ("asc", "desc"):
        assert column("p95", order, "p95_ms")[-1] is None


def test_signs_that_reorder_a_text_are_written_out_and_persian_stays(system: System) -> None:
    payload = {"to": "a@example.com", "subject": "فایل\u200cها \u202efdp.exe\u2066", "text": "x"}
    job = system.services.producer(PLATFORM).enqueue("email:send", "send-email", payload, delay=9_000).job_id
    shown = page_at(system, f"{ROOT}/queues/email:send/jobs/{job}").load()["job"]["payload"]
    assert "فایل\u200cها \\u202efdp.exe\\u2066" in shown
    assert json.loads(shown) == {**json.loads(shown), **payload}


def test_a_replayed_job_says_its_runs_once_each(system: System, visit: Visit) -> None:
    (job,) = failed_jobs(system, 1, queue="ai:seo", error="broken \u202etxt")
    system.services.control(PLATFORM).retry("ai:seo", job)
    page = visit().open(f"{ROOT}/queues/ai:seo/jobs/{job}")
    facts = page.locator(".facts")
    expect(facts).to_contain_text("replayed once, 1 run in all")
    # What happened quotes the error, and so does the attempt.
    assert page.locator("main").inner_text().count("broken \\u202etxt") == 2
