"""Redis refuses without being away: `teknav up` and the scheduler say so, and go on when it is put right."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest
import redis
from rich.console import Console

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.runtime.scheduler import Scheduler
from teknav_ops.runtime.status_board import StatusBoard
from teknav_ops.topology import TOPOLOGY
from tests.conftest import SECRET_KEY
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.support.web import settings_for


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_key_of_another_kind_does_not_end_what_shows_the_queues(client: redis.Redis, is_terminal: bool) -> None:
    told = io.StringIO()
    console = Console(file=told, force_terminal=is_terminal, width=200)
    client.set(QueueKeys("email:send").waiting, "text")
    with StatusBoard(console, JobQueries(client, TOPOLOGY), client) as board:  # type: ignore[arg-type]
        board.refresh()
        assert "Redis refuses to show the queues: WRONGTYPE" in told.getvalue()


def test_a_scheduler_that_is_refused_the_lead_asks_again(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = Scheduler(settings_for(tmp_path, redis_server.url, secret_key=SECRET_KEY))
    asked, hold = 0, scheduler._lease.hold

    def counted() -> bool:
        nonlocal asked
        asked += 1
        return hold()

    monkeypatch.setattr(scheduler._lease, "hold", counted)
    client.hset(keys.lease("scheduler"), "a", "text")
    thread = threading.Thread(target=scheduler.run)
    thread.start()
    try:
        until(lambda: asked >= 2 or not thread.is_alive(), what="a second question")
        assert thread.is_alive() and not scheduler._lease.is_held
        client.delete(keys.lease("scheduler"))
        until(lambda: scheduler._lease.is_held, what="the lead")
    finally:
        scheduler.stop()
        thread.join(60)
