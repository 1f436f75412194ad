"""The reports' page, and published pages behind the same guard, in a sandbox that has no part in the session."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import expect

from dashboards.page import ROOT
from teknav_ops.access.policy import Role
from teknav_ops.reports.runs import RunMeta
from tests.dashboards.addresses import page_at
from tests.dashboards.conftest import Visit
from tests.dashboards.published_reports import publish_reports, remove_reports
from tests.support.system import System

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def runs(system: System) -> Iterator[dict[str, RunMeta]]:
    root = system.settings.report_root
    yield publish_reports(root)
    remove_reports(root)


def test_an_owner_sees_how_each_report_ended_and_opens_its_page(visit: Visit, runs: dict[str, RunMeta]) -> None:
    visitor = visit()
    page = visitor.open("/dashboard/owner/queues")
    page.locator("nav").get_by_role("link", name="Reports").click()
    expect(page.locator("h1")).to_have_text("Reports")

    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    newest = rows.filter(has_text="How many jobs of each kind?")
    expect(newest).to_contain_text("limit breached")
    expect(newest).to_contain_text("dead letters: 12 is more than 10")
    newest.get_by_text("all runs").click()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("daily-charts")
    assert page.url.endswith("?report=charts")

    with visitor.context.expect_page() as opened:
        rows.first.get_by_role("link", name="How many jobs of each kind?").click()
    shown = opened.value
    expect(shown.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(shown.get_by_role("alert")).to_contain_text("12 is more than 10")
    shown.locator(".crumbs a").click()
    expect(shown.locator("h1")).to_have_text("Reports")


def test_a_page_can_do_nothing_in_the_visitors_name(visit: Visit, runs: dict[str, RunMeta]) -> None:
    visitor = visit()
    page = visitor.new_page()
    page.goto(f"{visitor.url}/reports/evil/{runs['evil'].run}/")

    expect(page.locator("#words")).to_have_text("words")
    assert page.title().startswith("What <img") and page.locator("form").count() == 0
    # An origin of its own: neither cookies nor what other pages keep.
    assert page.evaluate("self.origin") == "null"
    assert page.evaluate("(() => { try { return document.cookie } catch (error) { return error.name } })()") == (
        "SecurityError"
    )


def test_a_viewer_sees_that_it_failed_and_no_link_to_its_page(visit: Visit, runs: dict[str, RunMeta]) -> None:
    page = visit("viewer").open("/dashboard/owner/reports")
    row = page.locator("tbody tr").filter(has_text="reaches out")
    expect(row).to_contain_text("failed")
    expect(row).not_to_contain_text("sara@example.com")
    assert row.locator("a[target=_blank]").count() == 0


def test_a_viewer_is_given_no_personal_words(system: System, runs: dict[str, RunMeta]) -> None:
    shown = {role: json.dumps(page_at(system, f"{ROOT}/reports", role).load(), default=str) for role in Role}
    assert "sara@example.com" in shown[Role.OWNER] and "sara@example.com" not in shown[Role.VIEWER]


def test_a_viewer_is_given_no_file_and_a_stranger_neither(system: System, runs: dict[str, RunMeta]) -> None:
    path = f"{system.url}/reports/charts/{runs['good'].run}/"
    assert httpx.get(path, headers={"accept": "text/html"}).status_code in (303, 401)
    cookies = system.sign_in("viewer", Role.VIEWER)
    with httpx.Client(headers={"accept": "text/html"}, cookies=cookies) as browser:
        for file in ("", "report.html", "out.ipynb", "log.txt", "meta.json"):
            assert browser.get(path + file).status_code == 403


def test_files_are_given_to_owners_and_nothing_else_is_there(system: System, runs: dict[str, RunMeta]) -> None:
    cookies = system.sign_in("owner")
    with httpx.Client(base_url=system.url, headers={"accept": "text/html"}, cookies=cookies) as browser:
        path = f"/reports/charts/{runs['good'].run}"
        assert browser.get(f"{path}/meta.json").json()["run"] == runs["good"].run
        notebook = browser.get(f"{path}/out.ipynb")
        assert "attachment" in notebook.headers["content-disposition"]
        page = browser.get(f"{path}/")
        assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in page.headers["content-security-policy"]
        for wrong in (f"{path}/.lock", f"{path}/..%2f..%2findex.html", "/reports/charts/x/", "/reports/assets/x/"):
            assert browser.get(wrong).status_code == 404, wrong
