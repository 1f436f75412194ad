"""The reports' page, and published pages behind the same guard, in a sandbox that has no part in the session."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from playwright.sync_api import expect

from teknav_ops.reports.desk import ReportDesk
from teknav_ops.reports.runs import RunMeta
from tests.dashboards.conftest import Visit
from tests.reports.write_notebooks import write_notebooks
from tests.support.system import System
from tests.support.web import PASSWORD

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(240)]

_REACHES_OUT = """\
from IPython.display import HTML, display

display(HTML("<p id=words>words</p><script>fetch('/api/v1/queues'); document.title = 'owned'</script>"
             "<form id=out method=post action=/sign-out><button>Sign out</button></form>"))"""


@pytest.fixture(scope="module")
def runs(system: System, tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunMeta]:
    """A good run, a breached limit, and one that failed for a reason that quotes an address."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    folder: Path = write_notebooks(tmp_path_factory.mktemp("notebooks"))
    evil = new_notebook(
        cells=[
            new_markdown_cell("# What <img src=x onerror=alert(1)> reaches out?"), new_code_cell(_REACHES_OUT),
            new_code_cell("raise RuntimeError('could not mail sara@example.com')"),
        ]
    )  # fmt: skip
    nbformat.write(evil, folder / "evil.ipynb")
    settings = system.settings.model_copy(update={"notebooks_dir": folder})
    desk = ReportDesk(settings, system.services.database)
    return {
        "good": desk.run("charts", {}, who="scheduler", schedule="daily-charts"),
        "limit": desk.run("charts", {"dead_letters": 12}, who="علی"),
        "evil": desk.run("evil", {}, who="sara"),
    }


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


def test_a_viewer_sees_that_it_failed_and_neither_page_nor_personal_words(
    visit: Visit, runs: dict[str, RunMeta], system: System
) -> None:
    page = visit("vida").open("/dashboard/owner/reports")
    row = page.locator("tbody tr").filter(has_text="reaches out")
    expect(row).to_contain_text("failed")
    expect(row).not_to_contain_text("sara@example.com")
    assert row.locator("a[target=_blank]").count() == 0

    with httpx.Client(base_url=system.url, headers={"accept": "text/html"}) as browser:
        path = f"/reports/charts/{runs['good'].run}/"
        assert browser.get(path).status_code in (303, 401)
        browser.post("/sign-in", data={"name": "vida", "password": PASSWORD})
        for file in ("", "report.html", "out.ipynb", "log.txt", "meta.json"):
            assert browser.get(path + file).status_code == 403


def test_files_are_given_to_owners_and_nothing_else_is_there(system: System, runs: dict[str, RunMeta]) -> None:
    with httpx.Client(base_url=system.url, headers={"accept": "text/html"}) as browser:
        browser.post("/sign-in", data={"name": "sara", "password": PASSWORD})
        path = f"/reports/charts/{runs['good'].run}"
        assert browser.get(f"{path}/meta.json").json()["run"] == runs["good"].run
        notebook = browser.get(f"{path}/out.ipynb")
        assert "attachment" in notebook.headers["content-disposition"]
        page = browser.get(f"{path}/")
        assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
        assert "allow-same-origin" not in page.headers["content-security-policy"]
        for wrong in (f"{path}/.lock", f"{path}/..%2f..%2findex.html", "/reports/charts/x/", "/reports/assets/x/"):
            assert browser.get(wrong).status_code == 404, wrong
