"""An open page while Redis is away: it says so, with the age of its figures, and answers every click."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from bokeh.document import Document

from dashboards.open_page import OpenPage
from teknav_ops.redis_state.keys import QueueKeys
from tests.conftest import SECRET_KEY
from tests.dashboards.addresses import page_at
from tests.dashboards.opened import Opened
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.system import System
from tests.support.tcp_proxy import FaultProxy, Moment
from tests.support.waiting import until


@pytest.fixture
def opened(own_server: RedisServer) -> Iterator[Opened]:
    with _opened(own_server) as page:
        yield page


@contextmanager
def _opened(server: Any) -> Iterator[Opened]:
    """The page of queues; of `server`, its URL is all that counts."""
    folder = new_folder()
    system = System(folder, server, SECRET_KEY, redis_timeout_seconds=0.3)
    document = Document()
    looked = page_at(system, "/dashboard/owner/queues")
    with ThreadPoolExecutor(4) as threads:
        page = OpenPage(
            looked,
            document,
            threads,
            current_identity=lambda: looked.visit.identity if system.services.client.ping() else None,
            note_use=system.services.client.ping,
        )
        yield Opened(page, document, page.face)
        page.close()
    system.close()
    remove_folder(folder)


def test_a_page_says_that_redis_is_away_and_how_old_its_figures_are_and_goes_on_by_itself(
    opened: Opened, own_server: RedisServer
) -> None:
    opened.send(action="hello", args={})
    until(lambda: opened.state().get("queues"), what="the queues")
    assert opened.state()["outage"] is None
    loaded_at = time.monotonic()

    own_server.freeze()
    opened.page.note_redis(is_away=True)

    outage = opened.state()["outage"]
    assert "Redis does not answer" in outage["text"]
    assert 0 <= outage["ageSeconds"] <= time.monotonic() - loaded_at + 5
    assert opened.state()["queues"]
    own_server.thaw()
    opened.page.note_redis(is_away=False)
    until(lambda: opened.state()["outage"] is None, what="figures of now")


def test_what_is_clicked_while_redis_is_away_is_answered_at_once(opened: Opened, own_server: RedisServer) -> None:
    own_server.freeze()
    opened.send(id=1, action="pause", args={"queue": "otp:send"})
    opened.page.note_redis(is_away=True)
    opened.send(id=2, action="pause", args={"queue": "otp:send"})
    opened.send(id=3, action="navigate", args={"query": {"sort": "dlq"}})

    under_way, refused, moved = (opened.answer(number) for number in (1, 2, 3))
    assert under_way and not under_way["ok"] and "look whether it was done" in under_way["text"]
    assert refused and not refused["ok"] and "Not done: Redis does not answer" in refused["text"]
    assert moved and moved["ok"]
    own_server.thaw()
    opened.page.note_redis(is_away=False)
    until(lambda: opened.state().get("sort") == "dlq", what="the page as its address says")


def test_what_an_outage_cuts_off_before_anybody_knows_of_it_is_not_called_undone(own_server: RedisServer) -> None:
    with FaultProxy(own_server.url) as proxy, _opened(proxy) as opened:
        proxy.arm("set_control", Moment.AFTER, times=99)
        opened.send(id=1, action="pause", args={"queue": "otp:send"})
        answer = until(lambda: opened.answer(1), what="the answer")

    assert not answer["ok"] and "look whether it was done" in answer["text"] and "Not done" not in answer["text"]
    assert own_server.client().hget(QueueKeys("otp:send").control, "paused")


def test_an_outage_that_only_a_load_meets_is_said_too(opened: Opened, own_server: RedisServer) -> None:
    opened.send(action="hello", args={})
    until(lambda: opened.state().get("queues"), what="the queues")
    own_server.kill()
    opened.page.refresh()
    outage = until(lambda: opened.state()["outage"], what="the outage")
    assert "does not answer" in outage["text"] and outage["ageSeconds"] is not None
