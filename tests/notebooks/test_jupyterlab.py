"""An SRE in JupyterLab: filter, preview, replay; the jobs complete, and the audit trail says by whom."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
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
from tests.support.redis_server import free_port
from tests.support.stage import TREE
from tests.support.waiting import until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(300)]
TOKEN = "of-this-test"


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


@pytest.fixture
def page(address: str, browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1500, "height": 1100})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{address}/lab/tree/dlq_triage.ipynb?token={TOKEN}&reset")
    yield page
    context.close()


def test_dead_letters_are_filtered_previewed_and_replayed_in_jupyterlab(lab: Lab, page: Page) -> None:
    # Given: the cause is repaired, and the notebook asks about the queue.
    lab.upload(MISSING)
    parameters = page.locator(".jp-CodeCell", has_text="queue: str").first
    parameters.locator(".cm-content").click()
    page.keyboard.press("Control+Home")
    page.keyboard.press("Control+End")
    page.keyboard.type(f'\nqueue = "{QUEUE}"')
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
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
    replay.evaluate("button => { for (let n = 0; n < 5; n++) button.click(); }")
    expect(page.get_by_text("Replayed 9 of 9 jobs.")).to_be_visible()
    done, left = lab.buried[:9], lab.buried[9:]
    until(lab.are(JobState.COMPLETED, done), seconds=60, what="the replayed jobs' completion")
    assert {lab.stage.services.jobs.get(QUEUE, job).replay_count for job in done} == {1}
    assert all(lab.stage.services.jobs.get(QUEUE, job).state is JobState.FAILED for job in left)
    expect(page.get_by_text("0 match")).to_be_visible()
    with lab.stage.services.database.reading() as session:
        actors = list(session.scalars(select(AuditLog.actor).where(AuditLog.action == "dlq.batch_replayed")))
    assert actors == ["sara"]

    # A purge without the queue's name is refused, and says so.
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text(f"type {QUEUE} to delete all its dead letters")).to_be_visible()

    # What breaks in a callback is shown too.
    lab.redis.stop()
    page.locator(".jp-OutputArea").get_by_role("button", name="Refresh").click()
    expect(page.locator("[role=status]", has_text="Error: ")).to_contain_text("Error", timeout=60_000)
