"""Stopping child processes: workers give back what they run, and who does not listen is ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.producer import Producer
from teknav_ops.runtime.processes import stop_process
from tests.conftest import SECRET_KEY
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.workers import Workers

_DEAF = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
signal.pause()
signal.pause()
"""


@pytest.fixture
def workers(redis_server: RedisServer, tmp_path: Path) -> Iterator[Workers]:
    fleet = Workers(redis_server.url, tmp_path, SECRET_KEY, lease_seconds=30)
    yield fleet
    fleet.stop_all()


def test_workers_that_do_not_end_in_time_give_back_what_they_run(
    workers: Workers, producer: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    job_id = producer.enqueue("test:work", "work", {"number": 1, "seconds": 600}).job_id
    master = workers.start()
    until(lambda: queries.get("test:work", job_id).state is JobState.ACTIVE, what="the job's beginning")

    stop_process(master, 0.3, hurry_seconds=ANSWER_SECONDS)

    assert master.returncode != -signal.SIGKILL
    assert queries.get("test:work", job_id).state is JobState.WAITING, workers.logs()
    assert "job.lost" not in State(client).actions()


@pytest.mark.parametrize("hurry_seconds", [0.0, 0.1])
def test_who_does_not_listen_is_killed(hurry_seconds: float) -> None:
    process = subprocess.Popen([sys.executable, "-c", _DEAF], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == b"ready\n"

    stop_process(process, 0.1, hurry_seconds=hurry_seconds)

    assert process.returncode == -signal.SIGKILL
    process.stdout.close()
