"""One's own account, as a browser shows it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from dashboards.page import ROOT
from dashboards.pages import access
from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.redis_state import keys
from tests.dashboards.addresses import page_at
from tests.dashboards.jobs import failed_jobs
from tests.support.browser import Visitor
from tests.support.system import System
from tests.support.web import PASSWORD

pytestmark = pytest.mark.timeout(240)


def test_another_session_is_ended_from_the_account_page_and_the_password_changed(
    system: System, browser: Browser
) -> None:
    system.add_user("sara")
    cookie = system.services.entrance.sign_in("sara", PASSWORD, address="10.0.0.8", agent="curl/8.5.0").cookie
    visitor = Visitor(browser, system.url)
    visitor.sign_in("sara", PASSWORD)
    page = visitor.open(f"{ROOT}/account")
    other = page.get_by_role("row", name="curl")
    expect(other).to_contain_text("10.0.0.8")
    expect(page.get_by_role("row", name="this one")).to_contain_text("on Linux")

    other.get_by_role("button", name="End").click()

    expect(page.get_by_text("That session is ended.")).to_be_visible()
    expect(other).to_have_count(0)
    assert system.services.entrance.by_cookie(cookie, is_use=False) is None
    page.fill("[name=current]", PASSWORD)
    for field in ("next", "again"):
        page.fill(f"[name={field}]", "another long password")
    page.get_by_role("button", name="Change password").click()
    expect(page.get_by_text("Your password is changed; 0 other sessions ended.")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Your account")).to_be_visible()
    visitor.close()
    assert visitor.troubles == []


def test_a_purge_asks_for_the_password_first_and_then_goes_on(system: System, browser: Browser) -> None:
    failed_jobs(system, 3, queue="search:index")
    system.add_user("nasrin")
    visitor = Visitor(browser, system.url)
    visitor.sign_in("nasrin", PASSWORD)
    (session,) = system.services.entrance.sessions.of("nasrin")
    system.services.client.hset(keys.session(session.id), mapping={"is_proved": 0})
    page = visitor.open(f"{ROOT}/queues/search:index/dlq")
    page.get_by_role("button", name="Purge").click()
    page.fill("[name=confirmation]", "search:index")
    page.get_by_role("dialog").get_by_role("button", name="Purge 3").click()
    asked = page.get_by_role("dialog", name="Confirm that it is you")

    asked.locator("[name=confirm-password]").fill("a guess of the password")
    asked.get_by_role("button", name="Go on").click()

    expect(asked.get_by_role("alert")).to_have_text("That is not your password.")
    assert system.services.jobs.counts("search:index").dlq == 3
    asked.locator("[name=confirm-password]").fill(PASSWORD)
    asked.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("3 dead letters of search:index are deleted.")).to_be_visible()
    assert system.services.jobs.counts("search:index").dlq == 0
    visitor.close()
    assert visitor.troubles == []


def test_an_owner_adds_a_user_and_a_token_and_takes_the_token_back(system: System, browser: Browser) -> None:
    system.add_user("parvin")
    visitor = Visitor(browser, system.url)
    visitor.sign_in("parvin", PASSWORD)
    page = visitor.open(f"{ROOT}/access")
    page.get_by_role("button", name="Add user").click()
    form = page.get_by_role("dialog", name="Add user")
    for field, typed in (("name", "امید"), ("queues", "no:such"), ("password", "another long password")):
        form.locator(f"[name={field}]").fill(typed)
    form.get_by_role("button", name="Add user").click()
    expect(form.get_by_role("alert")).to_contain_text("'no:such' names no queue")
    form.locator("[name=queues]").fill("webhooks:*, otp:send")
    form.get_by_role("button", name="Add user").click()

    expect(page.get_by_role("row", name="امید")).to_contain_text("otp:send, webhooks:*")
    expect(page.get_by_role("button", name="Change parvin")).to_have_count(0)
    page.set_viewport_size({"width": 390, "height": 844})
    box = page.get_by_role("row", name="امید").get_by_role("button", name="Remove").bounding_box()
    assert box is not None and box["x"] + box["width"] <= 390
    page.get_by_role("button", name="Create token").click()
    form = page.get_by_role("dialog", name="Create token")
    form.locator("[name=name]").fill("shop")
    form.locator("[name=scope-enqueue]").check()
    form.get_by_role("button", name="Create token").click()
    secret = page.get_by_role("dialog", name="The token shop").locator("code").first.inner_text()
    page.get_by_role("button", name="I have kept it").click()

    assert system.services.entrance.tokens.recognise(secret) is not None
    page.get_by_role("row", name="shop").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Revoked shop.")).to_be_visible()
    assert system.services.entrance.tokens.recognise(secret) is None
    visitor.close()
    assert visitor.troubles == []


def test_of_many_users_and_tokens_the_first_are_listed_and_the_others_counted(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, tokens = system.services.entrance.users, system.services.entrance.tokens
    by = Operator("somebody", Role.OWNER)
    for name in ("many", "more"):
        system.add_user(name)
        tokens.create(by, name, role=Role.OWNER, scopes=[Operation.READ], life=None)
    monkeypatch.setattr(access, "SHOWN", 1)

    shown = page_at(system, f"{ROOT}/access").load()

    assert (len(shown["users"]), shown["moreUsers"]) == (1, users.count() - 1)
    assert (len(shown["tokens"]), shown["moreTokens"]) == (1, tokens.page().total_count - 1)
    assert shown["tokens"][0]["state"] == "live"
