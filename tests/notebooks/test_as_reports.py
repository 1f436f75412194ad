"""Each notebook through our own runner: its numbers are those of SQL, and its page needs no network."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import func, select

from teknav_ops.storage.tables import AuditLog
from tests.notebooks.conftest import FOUND, MISSING, NOTEBOOKS, QUEUE, Lab
from tests.notebooks.counting import count, durations
from tests.support import warm_python
from tests.support.browser import Visitor, chromium
from tests.support.system import TREE

pytestmark = [pytest.mark.xdist_group("notebooks"), pytest.mark.timeout(240)]
MAIN = "from teknav_ops.cli.app import main; main()"
ALL = len(FOUND) + len(MISSING)

Report = Callable[..., tuple[int, dict[str, Any], Path]]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def report(lab: Lab, tmp_path: Path) -> Report:
    """`teknav report run`: exit code, what it says, and the published page."""

    def run(name: str, **parameters: Any) -> tuple[int, dict[str, Any], Path]:
        given = [word for key, value in parameters.items() for word in ("--param", f"{key}={value}")]
        ended = warm_python.run(
            [sys.executable, "-c", MAIN, "report", "run", name, *given, "--json"], cwd=TREE, capture_output=True,
            text=True, timeout=120, check=False, env=lab.environment | {"TEKNAV_REPORT_DIR": str(tmp_path)},
        )  # fmt: skip
        meta = json.loads(ended.stdout)
        return ended.returncode, meta, tmp_path / name / meta["run"] / "report.html"

    return run


def expected(lab: Lab) -> dict[str, tuple[dict[str, Any], dict[str, float], int]]:
    """Per notebook: parameters, numbers counted in SQL, and how many charts its page draws."""
    with lab.system.services.database.reading() as session:
        one = session.scalars(select(AuditLog).filter_by(job_id=lab.completed[0], action="job.completed")).one()
        causes = session.scalar(
            select(func.count(AuditLog.fingerprint.distinct())).where(AuditLog.action == "job.failed")
        )
        assert one.duration_ms is not None
    given_up, completed = count(lab, "job.failed"), count(lab, "job.completed")
    return {
        "queue_health": ({"error_rate_limit": 1}, {
            "completed": completed, "dead letters": given_up, "error rate": given_up / ALL, "waiting": 0,
        }, 4),
        "p95_durations": ({"queue": QUEUE}, {"runs": ALL}, 1),
        "dlq_triage": ({"queue": QUEUE}, {"causes": causes, "dead letters": given_up}, 2),
        "job_story": ({"job": lab.completed[0]}, {"jobs": 1, "runs": 1, "time run": one.duration_ms}, 1),
        "incident_review": ({}, {"failed runs": given_up, "causes": causes, "jobs given up": given_up}, 2),
        "slo_report": ({"budget_limit": 1_000}, {
            "jobs finished": ALL, "dead letters that came": given_up, "most used": given_up / ALL / 0.01,
            "queues that kept their promise": 0,
        }, 3),
        "capacity_forecast": ({"queue": QUEUE, "utilisation_limit": 1_000}, {
            "time on threads per job": sum(durations(lab)) / ALL / 1000,
        }, 3),
        "ai_costs": ({}, {"runs": 0, "tokens": 0, "cost": 0}, 3),
    }  # fmt: skip


def test_every_notebook_is_expected_something_of(lab: Lab) -> None:
    assert set(expected(lab)) == {path.stem for path in NOTEBOOKS.glob("*.ipynb")} - {"template"}


@pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb") if path.stem != "template"))
def test_a_report_says_what_sql_says_and_draws_it_offline(
    lab: Lab, report: Report, browser: Browser, name: str
) -> None:
    parameters, numbers, chart_count = expected(lab)[name]

    code, meta, page_file = report(name, **parameters)

    assert (code, meta["status"], meta["error"]) == (0, "ok", "")
    said = {number["name"]: number["value"] for number in meta["numbers"]}
    assert {key: said[key] for key in numbers} == pytest.approx(numbers, rel=0.01)
    visitor = Visitor(browser, "")
    visitor.context.set_offline(True)
    visitor.page.goto(page_file.as_uri())
    expect(visitor.page.locator(".js-plotly-plot .main-svg").first).to_be_visible(timeout=30_000)
    expect(visitor.page.locator(".js-plotly-plot")).to_have_count(chart_count)
    assert "as of " in visitor.page.locator("main").inner_text()
    assert [trouble for trouble in visitor.troubles if "file://" not in trouble] == []
    visitor.close()


def test_a_wrong_parameter_runs_nothing_and_a_wrong_value_is_named(lab: Lab, report: Report, tmp_path: Path) -> None:
    code, meta, page = report("incident_review", start="yesterday")
    assert (code, meta["status"]) == (1, "failed")
    assert "start: 'yesterday' is neither an ISO time nor a span" in meta["error"] and page.is_file()

    code, meta, _ = report("job_story", job="not an id")
    assert code == 1 and "give a job id or a trace id" in meta["error"]

    code, meta, page = report("job_story", job="01a20000-0000-7000-8000-000000000000")
    assert code == 0 and "Nothing is known of" in page.read_text()


def test_a_breached_limit_has_the_exit_code_three(lab: Lab, report: Report) -> None:
    code, meta, _ = report("slo_report")
    assert (code, meta["status"]) == (3, "limit") and meta["error"].startswith("most used: ")
