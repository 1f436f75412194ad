"""What people do on the pages, and what others see of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from teknav_ops.audit.trail import AuditFilter, AuditTrail
from teknav_ops.jobs.states import JobState
from tests.dashboards.conftest import Visit
from tests.dashboards.jobs import PLATFORM, failed_jobs
from tests.support.system import System
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)


def test_a_pause_is_seen_by_another_operator_and_can_be_undone(system: System, visit: Visit) -> None:
    first, second = visit("owner").open("/dashboard/owner/queues"), visit("علی").open("/dashboard/owner/queues")
    expect(second.get_by_title("Pause otp:send")).to_be_visible()

    first.get_by_title("Pause otp:send").click()

    expect(second.get_by_title("Resume otp:send")).to_be_visible()
    expect(first.get_by_role("status").filter(has_text="otp:send is paused")).to_be_visible()
    first.get_by_role("button", name="Undo").click()
    expect(second.get_by_title("Pause otp:send")).to_be_visible()
    assert not system.services.jobs.counts("otp:send").is_paused


def test_a_new_job_is_refused_by_field_and_then_made(system: System, visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues/email:send")
    page.get_by_role("button", name="New job").click()
    dialog = page.get_by_role("dialog")
    dialog.locator("[name=to]").fill("nobody@-")
    dialog.locator("[name=subject]").fill("گزارش هفته")
    dialog.locator("[name=text]").fill("متن نیم‌فاصله")
    dialog.locator("[name=delay_seconds]").fill("9000")
    dialog.evaluate("dialog => dialog.querySelector('form').noValidate = true")
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog.locator(".problem").first).to_be_visible()

    dialog.locator("[name=to]").fill("reader@example.com")
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog).to_have_count(0)
    made = system.services.jobs.page("email:send", JobState.DELAYED).items
    assert "گزارش هفته" in [job.payload["subject"] for job in made]


def test_free_data_of_a_new_job_is_read_as_it_was_typed(system: System, visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues/workflows:run")
    page.get_by_role("button", name="New job").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).not_to_contain_text("`")
    # Its pattern allows one short word: no room for a text.
    dialog.locator("input[name=workflow]").fill("typed")
    dialog.locator("[name=delay_seconds]").fill("9000")
    # What a browser reads as null, and as one value of two.
    refused = {'{"a": 1e999}': "must be a finite number", '{"a": 1, "a": 2}': "twice", "{a": "not JSON"}
    for typed, problem in refused.items():
        dialog.locator("[name=input]").fill(typed)
        dialog.get_by_role("button", name="Create job").click()
        expect(dialog.locator("label", has=page.locator("[name=input]")).locator(".problem")).to_contain_text(problem)

    dialog.locator("[name=input]").fill('{"a": 9007199254740993}')
    dialog.get_by_role("button", name="Create job").click()
    expect(dialog).to_have_count(0)
    made = system.services.jobs.page("workflows:run", JobState.DELAYED).items
    assert [job.payload["input"] for job in made if job.payload["workflow"] == "typed"] == [{"a": 2**53 + 1}]


def test_limits_are_changed_while_running(system: System, visit: Visit) -> None:
    page = visit().open("/dashboard/owner/queues/ai:content")
    page.get_by_role("button", name="Limits").click()
    page.fill("[name=rate_count]", "5")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(page.get_by_role("dialog").locator("label", has=page.locator("[name=rate_period_ms]"))).to_contain_text(
        "give the period together with rate_count"
    )
    expect(page.locator(".toast")).to_have_count(0)
    page.fill("[name=rate_count]", "")
    page.fill("[name=concurrency]", "2")
    page.get_by_role("dialog").get_by_role("button", name="Set").click()
    expect(page.get_by_role("dialog")).to_have_count(0)

    assert system.services.jobs.counts("ai:content").concurrency == 2


def test_a_delayed_job_is_promoted_and_a_waiting_one_taken_out(system: System, visit: Visit) -> None:
    producer = system.services.producer(PLATFORM)
    event = {"plugin": "no-such", "event": "article.published"}
    job = producer.enqueue("plugins:execute", "execute-plugin", event, delay=9_000)
    page = visit().open(f"/dashboard/owner/queues/plugins:execute/jobs/{job.job_id}")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator(".state.waiting")).to_be_visible()

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Take it out").click()
    expect(page.locator(".state.cancelled")).to_be_visible()

    page.get_by_role("button", name="Run again").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    page.locator("dt", has_text="Run again as").locator("+ dd").get_by_role("link").click()
    expect(page.locator(".state.waiting")).to_be_visible()
    expect(page.locator("dt", has_text="Runs again").locator("+ dd")).to_contain_text(job.job_id)


def test_selected_letters_are_replayed_and_no_others(system: System, visit: Visit) -> None:
    jobs = failed_jobs(system, 4)
    page = visit().open("/dashboard/owner/queues/search:index?tab=failed&order=oldest")
    heading = page.get_by_role("table", name="failed jobs").get_by_role("columnheader", name="Failed")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    oldest = page.get_by_role("table", name="failed jobs").locator("tbody tr").first.get_by_role("link")
    first = oldest.get_attribute("href")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(oldest).not_to_have_attribute("href", first or "")
    page.goto(page.url.partition("?")[0] + "/dlq")
    heading = page.get_by_role("table", name="Dead letters").get_by_role("columnheader", name="Failed")
    expect(heading).to_have_attribute("aria-sort", "descending")
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    assert page.url.endswith("?order=oldest")
    for job in jobs[:2]:
        page.get_by_label(f"Select {job}").check()
    page.get_by_role("button", name="Replay selected").click()
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay 2").click()

    queries = system.services.jobs
    until(lambda: all(queries.get("search:index", job).state is not JobState.FAILED for job in jobs[:2]), seconds=60)
    assert all(queries.get("search:index", job).state is JobState.FAILED for job in jobs[2:])


def test_what_matches_is_deleted_after_a_look_and_a_reason(system: System, visit: Visit) -> None:
    jobs = failed_jobs(system, 3, queue="ai:review", error="no such language")
    page = visit("علی").open("/dashboard/owner/queues/ai:review/dlq?text=such+language")
    page.get_by_label(f"Select {jobs[0]}").check()
    page.get_by_role("button", name="Delete selected").click()
    page.get_by_role("button", name="Preview").click()
    dialog = page.get_by_role("dialog", name="Delete 1 dead letter on ai:review?")
    dialog.locator("[name=reason]").fill("زبان دیگری")
    dialog.get_by_role("button", name="Delete 1").click()
    page.get_by_role("button", name="Delete all that match").click()
    page.get_by_role("button", name="Preview").click()
    dialog = page.get_by_role("dialog", name="Delete 2 dead letters on ai:review?")
    expect(dialog.get_by_role("table", name="Causes in this deletion")).to_contain_text("StorageFailed")
    expect(dialog.get_by_role("button", name="Delete 2")).to_be_disabled()
    dialog.locator("[name=reason]").fill("another language")
    dialog.get_by_role("button", name="Delete 2").click()

    expect(page.get_by_role("status").filter(has_text="2 of 2 dead letters deleted")).to_be_visible()
    deleted = AuditFilter(action="dlq.batch_deleted", queue="ai:review", is_by_operator=True)
    entries = AuditTrail(system.services.database).page(deleted).items
    assert [(entry.actor, (entry.detail or {})["reason"]) for entry in entries] == [
        ("علی", "another language"), ("علی", "زبان دیگری"),
    ]  # fmt: skip


def test_a_payload_is_edited_validated_and_replayed(system: System, visit: Visit) -> None:
    (job,) = failed_jobs(system, 1, queue="ai:review", error="the article is another one")
    page = visit().open("/dashboard/owner/queues/ai:review/dlq?text=another+one")
    page.get_by_role("table", name="Dead letters").get_by_title("Inspect").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Edit payload").click()
    dialog.locator("[name=payload]").fill('{"article_id": "many"}')
    dialog.get_by_role("button", name="Replay with this payload").click()
    expect(dialog.locator(".problem")).to_contain_text("article_id")

    dialog.locator("[name=payload]").fill('{"article_id": 77}')
    dialog.get_by_role("button", name="Replay with this payload").click()
    expect(dialog).to_have_count(0)
    record = system.services.jobs.get("ai:review", job)
    assert (record.state, record.payload["article_id"]) == (JobState.WAITING, 77)


def test_a_purge_needs_the_queue_s_name_and_is_written_down(system: System, visit: Visit) -> None:
    failed_jobs(system, 3, queue="ai:seo")
    page = visit("علی").open("/dashboard/owner/queues/ai:seo/dlq")
    page.get_by_role("button", name="Purge").click()
    dialog = page.get_by_role("dialog")
    go = dialog.get_by_role("button", name="Purge")
    dialog.locator("[name=confirmation]").fill("ai")
    expect(go).to_be_disabled()
    dialog.locator("[name=confirmation]").fill("ai:seo")
    go.click()

    expect(page.get_by_text("No dead letters")).to_be_visible()
    purged = AuditFilter(action="dlq.purged", queue="ai:seo", is_by_operator=True)
    entries = AuditTrail(system.services.database).page(purged).items
    assert [(entry.actor, entry.outcome) for entry in entries] == [("علی", "done")]


def test_an_error_type_of_any_length_leaves_what_stands_beside_it_in_sight(system: System, visit: Visit) -> None:
    failed_jobs(system, 2, queue="ai:seo", error_type="ErrorTypeWithoutAnEnd" * 8)
    page = visit().open("/dashboard/owner/queues/ai:seo/dlq")
    page.get_by_label("Select all on this page").check()
    page.get_by_role("button", name="Delete selected").click()
    page.get_by_role("button", name="Preview").click()

    dialog = page.get_by_role("dialog")
    count = dialog.get_by_role("table", name="Causes in this deletion").locator("td.right")
    expect(count).to_have_text("2")
    inner, outer = count.bounding_box(), dialog.bounding_box()
    assert inner is not None and outer is not None and inner["x"] + inner["width"] <= outer["x"] + outer["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_what_matches_is_taken_away_as_a_file(system: System, visit: Visit) -> None:
    (job,) = failed_jobs(system, 1, error="=cmd() گم‌شده")
    page = visit().open("/dashboard/owner/queues/search:index/dlq?since=1h&type=StorageFailed&text=cmd")

    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()

    text = Path(download.value.path()).read_text("utf-8-sig")
    assert text.count("\n") >= 2 and job in text and "'=cmd() گم‌شده" in text


def test_a_page_comes_back_by_itself_after_redis_or_the_server_was_away(own_system: System, visit: Visit) -> None:
    visitor = visit(at=own_system)
    page = visitor.open("/dashboard/owner/queues?sort=dlq")
    expect(page.get_by_role("table", name="Queues")).to_be_visible()
    own_system.redis.freeze()
    expect(page.get_by_role("alert")).to_contain_text(re.compile(r"Redis does not answer.*figures are \d+ s old"))
    page.get_by_title("Pause otp:send").click()
    expect(page.get_by_role("status")).to_contain_text("Not done")
    other = visitor.new_page()
    other.goto(f"{own_system.url}/dashboard/owner/workers")
    expect(other.get_by_text("This page tries again")).to_be_visible()
    own_system.redis.thaw()
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(other.get_by_role("heading", name="Workers")).to_be_visible()

    own_system.kill("web")
    expect(page.get_by_role("alert")).to_contain_text("The connection is lost")

    own_system.start_web()

    expect(page.get_by_text("The server was restarted")).to_be_visible()
    expect(page.get_by_role("table", name="Queues")).to_be_visible()
    assert page.url.endswith("sort=dlq")
    # While one of the two was away, looking for it failed; that is what was asked for.
    visitor.troubles.clear()
