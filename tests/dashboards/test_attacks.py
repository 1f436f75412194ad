"""Words from outside stay words, and roles hold on every page and action."""

from __future__ import annotations

import json

import httpx
import pytest
from playwright.sync_api import expect

from teknav_ops.access.policy import Operator, Role
from tests.dashboards.conftest import Visit
from tests.dashboards.test_actions import bury
from tests.support.system import System
from tests.support.web import PASSWORD

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.timeout(240)]

EVIL = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>=HYPERLINK(1)"


def test_words_from_outside_are_shown_as_words(system: System, visit: Visit) -> None:
    bury(system, 1, error=EVIL)
    visitor = visit()
    for path in ("queues/search:index/dlq", "queues/search:index?tab=failed", "queues/search:index?tab=dlq"):
        page = visitor.open(f"/dashboard/owner/{path}")
        expect(page.get_by_text("onerror").first).to_be_visible()
        assert page.title() != "owned"
    page.goto(f"{system.url}/dashboard/owner/queues/search:index/dlq?text=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_text("Nothing matches")).to_be_visible()
    assert page.title() != "owned"


def test_a_viewer_sees_masked_payloads_and_no_buttons(system: System, visit: Visit) -> None:
    producer = system.services.producer(Operator("platform", Role.OWNER))
    mail = {"to": "private@example.com", "subject": "private words", "text": "more"}
    job = producer.enqueue("email:send", "send-email", mail, delay=9_000).job_id

    page = visit("vida").open(f"/dashboard/owner/queues/email:send/jobs/{job}")
    expect(page.get_by_role("heading", name="Payload")).to_be_visible()

    assert "private" not in page.content() + json.dumps(page.locator("main").inner_text())
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)


@pytest.mark.parametrize(
    "path", ["queues/no:such", "queues/no:such/dlq", "runbook/..%2F..%2F..%2Fsecret", "queues/email:send/jobs/none"]
)
def test_what_is_not_there_is_said_and_breaks_nothing(visit: Visit, path: str) -> None:
    visitor = visit()
    visitor.page.goto(f"{visitor.url}/dashboard/owner/{path}")
    visitor.page.wait_for_load_state()
    # A path that names no page is the server's 404.
    visitor.troubles[:] = [trouble for trouble in visitor.troubles if "404" not in trouble]
    assert "Traceback" not in visitor.page.content()


def test_a_stolen_cookie_is_worth_nothing_after_the_owner_has_signed_out(system: System) -> None:
    with httpx.Client(base_url=system.url, headers={"accept": "text/html"}) as browser:
        assert browser.post("/sign-in", data={"name": "sara", "password": PASSWORD}).status_code == 303
        stolen = dict(browser.cookies)
        identity = system.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
        assert identity is not None
        browser.post("/sign-out", data={"csrf_token": identity.csrf_token or ""})

    answer = httpx.get(f"{system.url}/dashboard/owner/queues", cookies=stolen, headers={"accept": "text/html"})

    assert answer.status_code == 303 and "/sign-in" in answer.headers["location"]
