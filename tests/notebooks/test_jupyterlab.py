"""An SRE in JupyterLab: filter, preview, replay; the jobs complete, and the audit trail says by whom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from teknav_ops.jobs.states import JobState
from teknav_ops.storage.tables import AuditLog
from tests.notebooks.conftest import MISSING, NOTEBOOKS, QUEUE, Lab
from tests.notebooks.counting import count
from tests.support.browser import chromium
from tests.support.ports import free_port
from tests.support.system import TREE
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]
TOKEN = "of-this-test"
IMPATIENTLY = "button => { for (let n = 0; n < 5; n++) button.click(); }"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def address(lab: Lab, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on a copy of the notebooks, as a person would have it, with settings of its own."""
    folder, port = tmp_path / "ops_notebooks", free_port()
    shutil.copytree(NOTEBOOKS, folder)
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "RUNTIME")}
    with (tmp_path / "lab.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root",
             f"--IdentityProvider.token={TOKEN}", "--LabApp.news_url=None", "--ServerApp.port_retries=0", str(folder)],
            env=lab.environment | own | {"JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
                                         "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")},
            cwd=TREE, stdout=log, stderr=log,
        )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    until(lambda: _answers(url), seconds=60, what="JupyterLab's start")
    yield url
    server.terminate()
    server.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


Open = Callable[..., Page]


@pytest.fixture
def run_all(address: str, browser: Browser) -> Iterator[Open]:
    """Opens a notebook, sets a parameter and runs all cells, as a person would."""
    contexts = []

    def opened(name: str, assignment: str) -> Page:
        context = browser.new_context(viewport={"width": 1500, "height": 1100})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{address}/lab/tree/{name}.ipynb?token={TOKEN}&reset")
        parameters = page.locator(".jp-CodeCell", has_text=f"{assignment.partition(' ')[0]}: str").first
        parameters.locator(".cm-content").click()
        page.keyboard.press("Control+Home")
        page.keyboard.press("Control+End")
        page.keyboard.type(f"\n{assignment}")
        # Before the kernel is there, Run All Cells does nothing.
        expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible()
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        return page

    yield opened
    for context in contexts:
        context.close()


def test_queues_are_watched_and_one_is_paused_in_jupyterlab(lab: Lab, run_all: Open) -> None:
    page = run_all("queue_health", 'profile = ""')
    row = page.locator("tr", has_text=QUEUE).filter(has_text="running").last
    expect(row).to_be_visible(timeout=90_000)
    expect(row.locator("td").nth(5)).to_have_text(f"{len(MISSING)}")
    page.get_by_label("queue", exact=True).select_option(QUEUE)
    expect(page.locator(".jp-OutputArea .js-plotly-plot", has_text=f"{QUEUE}: finished runs").first).to_be_visible()

    page.get_by_role("button", name="Pause").click()
    assert count(lab, "queue.paused") == 0
    page.get_by_role("button", name="Confirm: pause").evaluate(IMPATIENTLY)
    expect(page.locator("tr", has_text=QUEUE).filter(has_text="paused").last).to_be_visible()
    assert lab.system.services.jobs.counts(QUEUE).paused_since_ms
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Confirm: resume").click()
    expect(page.get_by_text(f"{QUEUE} is resumed.")).to_be_visible()
    with lab.system.services.database.reading() as session:
        # The operators' entries; the script's own come through the stream.
        pausing = AuditLog.action.in_(("queue.paused", "queue.resumed")) & AuditLog.outcome.is_not(None)
        rows = session.scalars(select(AuditLog).where(pausing).order_by(AuditLog.id))
        assert [(row.action, row.actor) for row in rows] == [("queue.paused", "sara"), ("queue.resumed", "sara")]


def test_a_job_is_found_opened_and_retried_in_jupyterlab(lab: Lab, run_all: Open) -> None:
    job = lab.buried[-1]
    lab.upload(MISSING[-1:])
    page = run_all("job_story", f'job = "{job}"')
    expect(page.get_by_label("job or trace")).to_have_value(job, timeout=90_000)
    expect(page.locator("[role=status]", has_text="failed")).to_be_visible()

    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("[role=status]", has_text=f"Confirm to retry {job}")).to_be_visible()
    page.get_by_role("button", name="Confirm: retry").evaluate(IMPATIENTLY)
    until(lab.are(JobState.COMPLETED, [job]), seconds=60, what="the retried job's completion")
    assert lab.system.services.jobs.get(QUEUE, job).replay_count == 1
    with lab.system.services.database.reading() as session:
        replayed = select(AuditLog.actor).where(AuditLog.action == "dlq.replayed", AuditLog.job_id == job)
        assert list(session.scalars(replayed)) == ["sara"]

    # A filter lists anew; what breaks in a callback is shown.
    page.get_by_label("state").select_option("completed")
    expect(page.locator("[role=status]", has_text="that are completed")).to_be_visible()
    page.get_by_label("job or trace").fill("not an id!")
    page.get_by_label("job or trace").press("Enter")
    expect(page.locator("[role=status]", has_text="Error: ")).to_contain_text("give a job id or a trace id")


def test_dead_letters_are_filtered_previewed_and_replayed_in_jupyterlab(lab: Lab, run_all: Open) -> None:
    # Given: the cause is repaired, and the notebook asks about the queue.
    lab.upload(MISSING[:-1])
    page = run_all("dlq_triage", f'queue = "{QUEUE}"')
    status = page.locator("[role=status]", has_text="What a replay may do twice")
    expect(status).to_be_visible(timeout=90_000)

    # Filtered: by what the errors contain.
    page.get_by_label("contains").fill("there is no file 90")
    page.get_by_label("contains").press("Enter")
    expect(page.get_by_text("9 match")).to_be_visible()

    # Previewed: the list is frozen, nothing is replayed.
    page.get_by_role("button", name="Preview").click()
    replay = page.get_by_role("button", name="Replay these 9")
    expect(replay).to_be_enabled()
    assert count(lab, "dlq.batch_replayed") == 0

    # Replayed, by an impatient person.
    replay.evaluate(IMPATIENTLY)
    expect(page.get_by_text("Replayed 9 of 9 jobs.")).to_be_visible()
    done, left = lab.buried[:9], lab.buried[9:-1]
    until(lab.are(JobState.COMPLETED, done), seconds=60, what="the replayed jobs' completion")
    assert {lab.system.services.jobs.get(QUEUE, job).replay_count for job in done} == {1}
    assert all(lab.system.services.jobs.get(QUEUE, job).state is JobState.FAILED for job in left)
    expect(page.get_by_text("0 match")).to_be_visible()
    with lab.system.services.database.reading() as session:
        actors = list(session.scalars(select(AuditLog.actor).where(AuditLog.action == "dlq.batch_replayed")))
    assert actors == ["sara"]

    # A purge without the queue's name is refused, and says so.
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text(f"type {QUEUE} to delete all its dead letters")).to_be_visible()

    # What breaks in a callback is shown too.
    lab.redis.stop()
    page.locator(".jp-OutputArea").get_by_role("button", name="Refresh").click()
    expect(page.locator("[role=status]", has_text="Error: ")).to_contain_text("Error", timeout=60_000)
