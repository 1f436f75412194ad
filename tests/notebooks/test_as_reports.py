"""Each notebook through our own runner, once: its numbers are those of SQL, and its page needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import func, select

from teknav_ops.storage.tables import AuditLog
from tests.notebooks.conftest import FOUND, MISSING, NOTEBOOKS, Lab
from tests.notebooks.counting import count, durations
from tests.support.browser import Visitor, chromium

pytestmark = pytest.mark.timeout(240)
ALL = len(FOUND) + len(MISSING)
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if path.stem != "template")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


def expected(lab: Lab) -> dict[str, tuple[dict[str, Any], int]]:
    """Per notebook: numbers counted in SQL, and how many charts its page draws."""
    with lab.system.services.database.reading() as session:
        one = session.scalars(select(AuditLog).filter_by(job_id=lab.completed[0], action="job.completed")).one()
        causes = session.scalar(
            select(func.count(AuditLog.fingerprint.distinct())).where(AuditLog.action == "job.failed")
        )
        assert one.duration_ms is not None
    given_up, completed = count(lab, "job.failed"), count(lab, "job.completed")
    return {
        "queue_health": ({
            "completed": completed, "dead letters": given_up, "error rate": given_up / ALL, "waiting": 0,
        }, 4),
        "p95_durations": ({"runs": len(FOUND)}, 1),
        "dlq_triage": ({"causes": causes, "dead letters": given_up}, 2),
        "job_story": ({"jobs": 1, "runs": 1, "time run": one.duration_ms}, 1),
        "incident_review": ({"failed runs": given_up, "causes": causes, "jobs given up": given_up}, 2),
        "slo_report": ({
            "jobs finished": ALL, "dead letters that came": given_up, "most used": given_up / ALL / 0.01,
            "queues that kept their promise": 0,
        }, 3),
        "capacity_forecast": ({"time on threads per job": sum(durations(lab)) / ALL / 1000}, 3),
        "ai_costs": ({"runs": 0, "tokens": 0, "cost": 0}, 3),
    }  # fmt: skip


def test_every_notebook_is_expected_something_of(lab: Lab) -> None:
    assert sorted(expected(lab)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_report_says_what_sql_says(lab: Lab, name: str) -> None:
    numbers, _ = expected(lab)[name]

    run = lab.report(name)

    assert (run.exit_code, run.meta["status"], run.meta["error"]) == (0, "ok", "")
    said = {number["name"]: number["value"] for number in run.meta["numbers"]}
    assert {key: said[key] for key in numbers} == pytest.approx(numbers, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_a_report_draws_its_charts_offline(lab: Lab, browser: Browser, name: str) -> None:
    _, chart_count = expected(lab)[name]
    visitor = Visitor(browser, "")
    visitor.context.set_offline(True)

    visitor.page.goto(lab.report(name).page.as_uri())

    expect(visitor.page.locator(".js-plotly-plot .main-svg").first).to_be_visible()
    expect(visitor.page.locator(".js-plotly-plot")).to_have_count(chart_count)
    assert "as of " in visitor.page.locator("main").inner_text()
    assert [trouble for trouble in visitor.troubles if "file://" not in trouble] == []
    visitor.close()


def test_a_wrong_value_of_a_parameter_is_named(lab: Lab) -> None:
    run = lab.run_report("incident_review", start="yesterday")
    assert (run.exit_code, run.meta["status"]) == (1, "failed")
    assert "start: 'yesterday' is neither an ISO time nor a span" in run.meta["error"] and run.page.is_file()

    run = lab.run_report("job_story", job="not an id")
    assert run.exit_code == 1 and "give a job id or a trace id" in run.meta["error"]


def test_a_job_that_nobody_knows_is_no_failure(lab: Lab) -> None:
    run = lab.run_report("job_story", job="01a20000-0000-7000-8000-000000000000")
    assert run.exit_code == 0 and "Nothing is known of" in run.page.read_text()


def test_a_breached_limit_has_the_exit_code_three(lab: Lab) -> None:
    run = lab.run_report("slo_report")
    assert (run.exit_code, run.meta["status"]) == (3, "limit") and run.meta["error"].startswith("most used: ")
