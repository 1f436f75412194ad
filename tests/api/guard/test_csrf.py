"""Changes by cookie come from our own pages only."""

from __future__ import annotations

from contextlib import closing

import httpx
import pytest

from tests.support.web import Web

# Panel's and Bokeh's own, towards tornado; the app runs in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*HTTPServerRequest:DeprecationWarning")


def test_a_change_needs_the_sessions_own_token(web: Web, owner: httpx.Client, viewer: httpx.Client) -> None:
    pause, right = "/api/owner/queues/search:index/pause", web.csrf(owner)

    assert owner.put(pause).status_code == 403
    assert owner.put(pause, headers={"x-csrf-token": "wrong"}).status_code == 403
    assert owner.put(pause, headers={"x-csrf-token": ""}).status_code == 403
    assert owner.put(pause, headers={"x-csrf-token": web.csrf(viewer)}).status_code == 403
    assert owner.put(pause, params={"csrf_token": right}).status_code == 403
    assert owner.put(pause, headers={"x-csrf-token": right}).status_code == 200
    assert owner.delete(pause, headers={"x-csrf-token": right}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_change_from_another_site_is_refused_even_with_the_token(
    web: Web, owner: httpx.Client, headers: dict[str, str]
) -> None:
    answer = owner.put("/api/owner/queues/search:index/pause", headers={"x-csrf-token": web.csrf(owner), **headers})
    assert answer.status_code == 403

    # Nor can another site sign somebody in as somebody else.
    with web.browser() as browser:
        assert browser.post("/sign-in", data={"name": "sara", "password": "x"}, headers=headers).status_code == 403


def test_a_form_may_carry_the_token_in_a_field(web: Web) -> None:
    with closing(web.sign_in()) as browser:
        token = web.csrf(browser)
        assert browser.post("/sign-out", data={"csrf_token": "wrong"}).status_code == 403
        assert browser.post("/sign-out", data={"csrf_token": token}).status_code == 303
