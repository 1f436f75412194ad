"""While Redis is dead or frozen: people get a page that tries again, at once; programs get their JSON."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from teknav_ops.access.policy import Operation
from teknav_ops.api.redis_watch import RedisWatch
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.support.web import Web, api, served, settings_for

#: What a visitor's browser may be kept waiting, however long a command's timeout is.
_SOON_SECONDS = 5


def refused(client: httpx.Client, path: str) -> httpx.Response | None:
    """The 503. What needs nothing of Redis is answered until two questions of the watch have gone unanswered."""
    answer = client.get(path)
    return answer if answer.status_code == 503 else None


@pytest.mark.parametrize("end", [RedisServer.freeze, RedisServer.kill], ids=["frozen", "dead"])
def test_pages_say_at_once_that_redis_is_away_and_programs_get_json(
    tmp_path: Path, own_server: RedisServer, end: Callable[[RedisServer], None]
) -> None:
    settings = settings_for(tmp_path, own_server.url, redis_timeout_seconds=20)
    with served(api(settings)) as web:
        web.add_user()
        program = web.with_token(web.token(Operation.READ, Operation.METRICS))
        with closing(web.sign_in()) as browser:
            end(own_server)
            begun = time.monotonic()
            page = browser.get("/dashboard/owner/workers")
            form = browser.post("/sign-in", data={"name": "sara", "password": "x"})
            answers = [browser.get("/api/owner/queues"), until(lambda: refused(program, "/api/owner/audit"))]
            answers.append(program.get("/metrics"))
            assert time.monotonic() - begun < _SOON_SECONDS

            for answer in answers:
                assert answer.status_code == 503 and answer.headers["retry-after"]
                assert answer.headers["content-type"] == "application/problem+json"
            assert page.status_code == form.status_code == 503
            assert page.headers["content-type"].startswith("text/html") and page.headers["retry-after"]
            assert "does not answer" in page.text and 'http-equiv="refresh"' in page.text
            assert "refresh" not in form.text and "/dashboard/owner/queues" in form.text
            assert "default-src" in page.headers["content-security-policy"]
            # What the page is made of, and what an open one asks to find out whether the server lives.
            assert browser.get("/sign-in/style.css").status_code == browser.get("/healthz").status_code == 200

            if end is RedisServer.freeze:
                own_server.thaw()
            else:
                own_server.start()
            until(lambda: browser.get("/sign-in").status_code == 303, what="the way in")


@pytest.mark.parametrize(
    ("path", "accept", "is_page"),
    [
        ("/sign-in/nothing", "text/html,*/*", True),
        ("/sign-in/nothing", "application/json", False),
        ("/sign-in/nothing", "*/*", False),
        ("/api/nothing", "text/html", False),
    ],
)
def test_what_is_not_there_is_a_page_for_people_and_json_for_programs(
    web: Web, path: str, accept: str, is_page: bool
) -> None:
    with closing(web.browser()) as browser:
        answer = browser.get(path, headers={"accept": accept})
    assert answer.status_code == (401 if path.startswith("/api") else 404)
    kind = "text/html; charset=utf-8" if is_page else "application/problem+json"
    assert answer.headers["content-type"] == kind
    assert ("There is no page at this address" in answer.text) == is_page


def test_one_missing_answer_is_no_outage_and_one_answer_ends_it(own_server: RedisServer) -> None:
    watch = RedisWatch(own_server.url, timeout_seconds=0.2)
    watch.check()
    own_server.freeze()
    watch.check()
    assert not watch.is_away
    watch.check()
    assert watch.is_away
    own_server.thaw()
    until(lambda: [watch.check(), not watch.is_away][1], what="an answer")
    watch.stop()
