"""The whole story: a failure storm is seen, understood, repaired and replayed, and the audit trail says by whom."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from teknav_ops.jobs.states import JobState
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.tables import File
from teknav_ops.topology import TOPOLOGY
from tests.dashboards.conftest import Visit
from tests.dashboards.jobs import PLATFORM, empty
from tests.support.system import System
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)

QUEUE = "media:optimize"
STORM = range(901, 905)
#: What lies outside of its card.
BESIDE = """nodes => {
    const end = (node) => node.getBoundingClientRect().right;
    const beside = nodes.filter(node => end(node) > end(node.closest('.scroll')));
    return beside.map(node => node.outerHTML.slice(0, 100)); }"""
#: Four grey pixels by four: what is done with pictures is not what is looked at here.
_SMALL_PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAAAAACMmsGiAAAADklEQVR4nGNoAAIGVAIAUBQIAXAlrj8AAAAASUVORK5CYII="
)


@pytest.fixture
def working(system: System) -> Iterator[System]:
    """The system with empty queues, of which nothing else needs attention, and with workers for one."""
    for queue in TOPOLOGY:
        empty(system, queue)
    system.start_workers(QUEUE)
    yield system
    system.kill("workers")


def test_a_storm_is_seen_grouped_previewed_replayed_and_written_down(working: System, visit: Visit) -> None:
    visitor = visit("علی")
    page = visitor.open("/dashboard/owner/queues")
    producer = working.services.producer(PLATFORM)
    jobs = [producer.enqueue(QUEUE, "optimize-image", {"file_id": number}).job_id for number in STORM]

    # Seen on the first page, without a click.
    attention = page.locator("section.attention a", has_text=QUEUE)
    attention = attention.filter(has_text="4 dead letters wait to be decided")
    expect(attention).to_be_visible()
    expect(page.get_by_role("region", name="Totals")).to_contain_text("given up, last 5 min")
    expect(page.get_by_role("columnheader", name="Given up/min")).to_be_visible()
    attention.click()

    # Understood: one cause.
    causes = page.get_by_role("table", name="Causes")
    expect(causes.locator("tbody tr")).to_have_count(1)
    expect(causes).to_contain_text("UnknownFile")
    page.get_by_role("table", name="Dead letters").locator("tbody tr").first.get_by_title("Inspect").click()
    expect(page.get_by_role("dialog")).to_contain_text("what this means and how it is fixed")
    page.get_by_role("dialog").get_by_role("button", name="Close").click()

    # Repaired.
    _upload(working)

    # Replayed, by an impatient person.
    page.get_by_role("button", name="Replay all").click()
    page.fill("[name=replay-name]", "پروندهٔ گم‌شده")
    page.get_by_role("button", name="Preview").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Replay 4 jobs on media:optimize?")
    expect(dialog.get_by_role("table", name="Causes in this replay")).to_contain_text("UnknownFile")
    page.fill("[name=rate]", "")
    start = dialog.get_by_role("button", name="Replay 4")
    start.evaluate("button => { for (let n = 0; n < 20; n++) button.click(); }")

    # Dead letters gone, jobs completed, each once.
    expect(page.get_by_text("No dead letters")).to_be_visible(timeout=60_000)
    until(
        lambda: all(working.services.jobs.get(QUEUE, job).state is JobState.COMPLETED for job in jobs),
        seconds=90, what="the replayed jobs' completion",
    )  # fmt: skip
    assert {working.services.jobs.get(QUEUE, job).replay_count for job in jobs} == {1}

    # And the audit page says who.
    page = visitor.open("/dashboard/owner/audit?queue=media:optimize")
    started = page.locator("tr", has_text="dlq.replay_started")
    expect(started).to_have_count(1)
    expect(started).to_contain_text("علی")
    page = visitor.open("/dashboard/owner/replays")
    expect(page.get_by_role("table", name="Replays")).to_contain_text("4 of 4")
    assert page.locator("td.name b[dir=auto]").first.inner_text() == "پروندهٔ گم‌شده"

    # What became of them is seen whole, and what to do about it, however wide the window is.
    (replay,) = working.services.replays.page(queue=QUEUE).items
    told = {
        "failed_again": 1_234,
        "again:UnknownFile|f1": 1_234,
        "skipped:anew": 56,
        "skipped:deleted": 7,
        "cause:UnknownFile|f1": 1_234,
        "cause:ImageDamaged|f2": 67,
        "rate": 1_000,
    }
    working.services.client.hset(QueueKeys(QUEUE).replay(replay.id), mapping=told | {"replayed": 1_238, "done": 1_301})
    for width in (1_280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        page = visitor.open("/dashboard/owner/replays")
        for text in (
            "4 completed",
            "1,234 failed again",
            "7 deleted meanwhile",
            "1,238 of 4",
            "Replay what failed again",
        ):
            expect(page.get_by_text(text)).to_be_in_viewport(ratio=1)
        assert page.locator(".scroll td *").evaluate_all(BESIDE) == []


def _upload(system: System) -> None:
    folder = system.settings.media_root / "originals"
    folder.mkdir(parents=True, exist_ok=True)
    with system.services.database.session() as session:
        for number in STORM:
            (folder / f"{number}.png").write_bytes(_SMALL_PICTURE)
            session.add(File(id=number, storage_path=f"originals/{number}.png", original_name="small.png"))
