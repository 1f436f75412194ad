"""One's own account, as a browser shows it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from dashboards.page import ROOT
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
