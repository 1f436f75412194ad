"""An SRE in JupyterLab: filter, preview, replay; the jobs complete, and the audit trail says by whom."""

from __future__ import annotations

import contextlib
import re
import shutil
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
from tests.support import warm_python
from tests.support.browser import chromium
from tests.support.operators import at_command_line
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.scale import scaled
from tests.support.system import TREE
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(300)
TOKEN = "of-this-test"
IMPATIENTLY = "button => { for (let n = 0; n < 5; n++) button.click(); }"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def address(running_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """JupyterLab on a copy of the notebooks, as a person would have it, with settings of its own."""
    own, port = tmp_path_factory.mktemp("jupyter"), free_port()
    folder, log = own / "ops_notebooks", own / "lab.log"
    shutil.copytree(NOTEBOOKS, folder)
    places = {name: str(own / name) for name in ("CONFIG_DIR", "RUNTIME_DIR", "DATA_DIR")}
    environment = running_lab.environment | {f"JUPYTER_{name}": place for name, place in places.items()}
    environment |= {f"JUPYTERLAB_{name}_DIR": str(own / name) for name in ("WORKSPACES", "SETTINGS")}
    command = ["-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--allow-root", str(folder)]
    command += [f"--IdentityProvider.token={TOKEN}", "--LabApp.news_url=None", "--ServerApp.port_retries=0"]
    with log.open("wb") as output:
        server = warm_python.Process(
            [sys.executable, *command], env=environment, cwd=TREE, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until(lambda: _answers(url, server, log), what="JupyterLab's start")
        yield url
        server.terminate()
        server.wait(30)
    finally:
        # Its kernels end with it.
        server.kill()
        server.wait()


def _answers(url: str, server: warm_python.Process, log: Path) -> bool:
    assert server.poll() is None, log.read_text()
    try:
        return httpx.get(f"{url}/api", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False


Open = Callable[..., Page]


@pytest.fixture
def run_all(address: str, browser: Browser) -> Iterator[Open]:
    """Opens a notebook, adds a line to its parameters and runs all cells, as a person would."""
    with contextlib.ExitStack() as stack:

        def opened(name: str, assignment: str = "") -> Page:
            context = browser.new_context(viewport={"width": 1500, "height": 1100})
            stack.callback(context.close)
            page = context.new_page()
            page.set_default_timeout(60_000)
            page.goto(f"{address}/lab/tree/{name}.ipynb?token={TOKEN}&reset")
            if assignment:
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
        _end_kernels(address)


def _end_kernels(address: str) -> None:
    """The next notebook has JupyterLab for itself."""
    with httpx.Client(base_url=address, headers={"authorization": f"token {TOKEN}"}, timeout=30) as client:
        for kernel in client.get("/api/kernels").json():
            client.delete(f"/api/kernels/{kernel['id']}").raise_for_status()


def test_queues_are_watched_and_one_is_paused_in_jupyterlab(running_lab: Lab, run_all: Open) -> None:
    dead_letters = running_lab.system.services.jobs.counts(QUEUE).dlq
    page = run_all("queue_health", 'profile = ""')
    row = page.locator("tr", has_text=QUEUE).filter(has_text="running").last
    expect(row).to_be_visible(timeout=90_000)
    expect(row.locator("td").nth(5)).to_have_text(f"{dead_letters}")
    page.get_by_label("queue", exact=True).select_option(QUEUE)
    expect(page.locator(".jp-OutputArea .js-plotly-plot", has_text=f"{QUEUE}: finished runs").first).to_be_visible()

    page.get_by_role("button", name="Pause").click()
    assert count(running_lab, "queue.paused") == 0
    page.get_by_role("button", name="Confirm: pause").evaluate(IMPATIENTLY)
    expect(page.locator("tr", has_text=QUEUE).filter(has_text="paused").last).to_be_visible()
    assert running_lab.system.services.jobs.counts(QUEUE).paused_since_ms
    page.get_by_role("button", name="Resume").click()
    page.get_by_role("button", name="Confirm: resume").click()
    expect(page.get_by_text(f"{QUEUE} is resumed.")).to_be_visible()
    with running_lab.system.services.database.reading() as session:
        # The operators' entries; the script's own come through the stream.
        pausing = AuditLog.action.in_(("queue.paused", "queue.resumed")) & AuditLog.outcome.is_not(None)
        rows = session.scalars(select(AuditLog).where(pausing).order_by(AuditLog.id))
        sara = at_command_line("sara")
        assert [(row.action, row.actor) for row in rows] == [("queue.paused", sara), ("queue.resumed", sara)]


def test_a_job_is_found_opened_and_retried_in_jupyterlab(running_lab: Lab, run_all: Open) -> None:
    job = running_lab.buried[-1]
    running_lab.upload(MISSING[-1:])
    page = run_all("job_story", f'job = "{job}"')
    expect(page.get_by_label("job or trace")).to_have_value(job, timeout=90_000)
    expect(page.locator("[role=status]", has_text="failed")).to_be_visible()

    page.get_by_role("button", name="Retry", exact=True).click()
    expect(page.locator("[role=status]", has_text=f"Confirm to retry {job}")).to_be_visible()
    page.get_by_role("button", name="Confirm: retry").evaluate(IMPATIENTLY)
    until(running_lab.are(JobState.COMPLETED, [job]), seconds=60, what="the retried job's completion")
    assert running_lab.system.services.jobs.get(QUEUE, job).replay_count == 1
    with running_lab.system.services.database.reading() as session:
        replayed = select(AuditLog.actor).where(AuditLog.action == "dlq.replayed", AuditLog.job_id == job)
        assert list(session.scalars(replayed)) == [at_command_line("sara")]

    # A filter lists anew; what breaks in a callback is shown.
    page.get_by_label("state").select_option("completed")
    expect(page.locator("[role=status]", has_text="that are completed")).to_be_visible()
    page.get_by_label("job or trace").fill("not an id!")
    page.get_by_label("job or trace").press("Enter")
    expect(page.locator("[role=status]", has_text="Error: ")).to_contain_text("give a job id or a trace id")


def test_dead_letters_are_filtered_previewed_and_replayed_in_jupyterlab(running_lab: Lab, run_all: Open) -> None:
    # Given: the cause is repaired, and the notebook asks about the queue.
    running_lab.upload(MISSING[:-1])
    page = run_all("dlq_triage", f'queue = "{QUEUE}"')
    status = page.locator("[role=status]", has_text="What a replay may do twice")
    expect(status).to_be_visible(timeout=90_000)

    # Filtered: by what the errors contain.
    page.get_by_label("contains").fill("there is no file 90")
    page.get_by_label("contains").press("Enter")
    expect(page.get_by_text("9 match")).to_be_visible()

    # Previewed: the list is frozen, nothing is replayed.
    page.get_by_role("button", name="Preview", exact=True).click()
    replay = page.get_by_role("button", name="Replay 9 jobs")
    expect(replay).to_be_enabled()
    assert count(running_lab, "dlq.batch_replayed") == 0

    # Replayed, by an impatient person.
    replay.evaluate(IMPATIENTLY)
    expect(page.get_by_text("Replayed 9 of 9 jobs:")).to_be_visible()
    done, left = running_lab.buried[:9], running_lab.buried[9:-1]
    until(running_lab.are(JobState.COMPLETED, done), seconds=60, what="the replayed jobs' completion")
    assert {running_lab.system.services.jobs.get(QUEUE, job).replay_count for job in done} == {1}
    assert all(running_lab.system.services.jobs.get(QUEUE, job).state is JobState.FAILED for job in left)
    expect(page.get_by_text("0 match")).to_be_visible()
    with running_lab.system.services.database.reading() as session:
        actors = list(session.scalars(select(AuditLog.actor).where(AuditLog.action == "dlq.batch_replayed")))
    assert actors == [at_command_line("sara")]

    # A purge without the queue's name is refused, and says so.
    page.get_by_role("button", name="Purge").click()
    expect(page.get_by_text(f"type {QUEUE} to delete all its dead letters")).to_be_visible()

    # What breaks in a callback is shown too.
    with out_of_service(running_lab.redis):
        page.locator(".jp-OutputArea").get_by_role("button", name="Refresh").click()
        expect(page.locator("[role=status]", has_text="Error: ")).to_contain_text("Error")


@contextlib.contextmanager
def out_of_service(server: RedisServer) -> Iterator[None]:
    """Away for the block, and back with its data."""
    with server.client() as client:
        client.save()
    server.kill()
    try:
        yield
    finally:
        server.start()


if scaled(1) > 1:  # `make soak`

    @pytest.mark.parametrize("name", sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb")))
    def test_every_notebook_runs_to_its_end_in_jupyterlab(run_all: Open, name: str) -> None:
        page = run_all(name)
        expect(page.locator(".jp-CodeCell .jp-InputPrompt").last).to_have_text(re.compile(r"\[\d+\]:"))
        expect(page.locator("[data-mime-type='application/vnd.jupyter.error']")).to_have_count(0)
