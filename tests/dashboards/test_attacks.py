"""Words from outside stay words, and what a viewer may not see is not there."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import expect

from dashboards.page import ROOT
from teknav_ops.access.policy import Role
from teknav_ops.errors import TekNavError
from teknav_ops.storage.tables import WebhookDeliveryLog
from tests.dashboards.addresses import page_at
from tests.dashboards.conftest import Visit
from tests.dashboards.jobs import PLATFORM, failed_jobs
from tests.support.system import System

pytestmark = pytest.mark.timeout(240)

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>=HYPERLINK(1)"
MAIL = {"to": "private@example.com", "subject": "private words", "text": "more"}


def test_words_from_outside_are_shown_as_words(system: System, visit: Visit) -> None:
    failed_jobs(system, 1, error=EVIL)
    visitor = visit()
    page = visitor.open(f"{ROOT}/queues/search:index?tab=failed")
    expect(page.get_by_text("onerror").first).to_be_visible()
    assert page.title() != "owned"
    page.get_by_role("tab", name="DLQ").click()
    expect(page.get_by_role("table", name="Causes")).to_contain_text("onerror")
    assert page.title() != "owned"

    page = visitor.open(f"{ROOT}/queues/search:index/dlq")
    expect(page.get_by_text("onerror").first).to_be_visible()
    assert page.title() != "owned"
    page.goto(f"{system.url}{ROOT}/queues/search:index/dlq?text=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    assert page.title() != "owned"


def test_a_viewer_sees_masked_payloads_and_no_buttons(system: System, visit: Visit) -> None:
    job = system.services.producer(PLATFORM).enqueue("email:send", "send-email", MAIL, delay=9_000).job_id
    # As if it had delivered to a receiver that quotes what it was sent.
    with system.services.database.session() as session:
        said = {"endpoint_id": 1, "event_id": "e", "event_type": "article.published", "status_code": 422}
        session.add(
            WebhookDeliveryLog(**said, job_id=job, delivery=1, attempt=1, outcome="failed", answer="private answer")
        )
    loaded = page_at(system, f"{ROOT}/queues/email:send/jobs/{job}").load()
    assert "private words" in json.dumps(loaded, default=str)
    assert [sent["answer"] for sent in loaded["deliveries"]] == ["private answer"]

    page = visit("viewer").open(f"{ROOT}/queues/email:send/jobs/{job}")
    expect(page.get_by_role("heading", name="Payload")).to_be_visible()
    expect(page.get_by_role("heading", name="What the receiver answered")).to_be_visible()
    expect(page.get_by_text("422", exact=True)).to_be_visible()

    assert "private" not in page.content() + json.dumps(page.locator("main").inner_text())
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


@pytest.mark.parametrize("place", ["queues/email:send?tab=jobs&state=delayed", "audit"])
def test_no_list_shows_a_viewer_what_payloads_say(system: System, place: str) -> None:
    system.services.producer(PLATFORM).enqueue("email:send", "send-email", MAIL, delay=9_000)
    loaded = page_at(system, f"{ROOT}/{place}", Role.VIEWER).load()
    assert "private" not in json.dumps(loaded, default=str)


@pytest.mark.parametrize("place", ["queues/no:such", "queues/no:such/dlq", "queues/email:send/jobs/none"])
def test_what_is_not_there_is_said(system: System, place: str) -> None:
    with pytest.raises(TekNavError):
        page_at(system, f"{ROOT}/{place}").load()


@pytest.mark.parametrize(
    ("place", "status"),
    [
        ("queues/no:such", 200),
        ("queues/no:such/dlq", 200),
        ("queues/email:send/jobs/none", 200),
        ("runbook/..%2F..%2F..%2Fsecret", 404),
        ("no-such-page", 404),
    ],
)
def test_an_address_of_nothing_breaks_nothing(system: System, place: str, status: int) -> None:
    cookies = system.sign_in("owner")
    answer = httpx.get(f"{system.url}{ROOT}/{place}", cookies=cookies, headers={"accept": "text/html"})
    assert answer.status_code == status
    assert "Traceback" not in answer.text


def test_a_queue_that_is_not_there_is_said_on_its_page(visit: Visit) -> None:
    page = visit().open(f"{ROOT}/queues/no:such")
    expect(page.get_by_text("This cannot be shown")).to_be_visible()


def test_a_stolen_cookie_is_worth_nothing_after_the_owner_has_signed_out(system: System) -> None:
    stolen = system.sign_in("owner")
    with httpx.Client(base_url=system.url, headers={"accept": "text/html"}, cookies=stolen) as browser:
        identity = system.services.entrance.by_cookie(*stolen.values(), is_use=False)
        assert identity is not None
        browser.post("/sign-out", data={"csrf_token": identity.csrf_token or ""})

    answer = httpx.get(f"{system.url}{ROOT}/queues", cookies=stolen, headers={"accept": "text/html"})

    assert answer.status_code == 303 and "/sign-in" in answer.headers["location"]
