"""A scheduler that is told to end leaves nothing untold and nothing unmoved."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import redis

from teknav_ops.redis_state.keys import EVENTS_CURSORS, QueueKeys
from teknav_ops.topology import TOPOLOGY
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.completed_jobs import complete_jobs
from tests.support.databases import migrate
from tests.support.redis_server import RedisServer
from tests.support.relays import told_count
from tests.support.waiting import until


@pytest.mark.timeout(120)
def test_what_happened_until_then_is_told_and_in_auditlog(
    redis_server: RedisServer, client: redis.Redis, tmp_path: Path
) -> None:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    environment = {
        **os.environ, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        scheduler = warm_python.Process(
            [sys.executable, "-m", "teknav_ops.runtime.scheduler"], env=environment, stdout=log, stderr=log
        )
    try:
        until(lambda: client.hlen(EVENTS_CURSORS) == len(TOPOLOGY), seconds=60, what="the relay to begin")
        complete_jobs(client, 3_000, queue="media:optimize", job="optimize-image")
        scheduler.terminate()
        assert scheduler.wait(60) == 0
    finally:
        scheduler.kill()
        scheduler.wait()

    assert told_count(client, "job.completed") == 3_000
    assert client.xlen(QueueKeys("media:optimize").audit) == 0
