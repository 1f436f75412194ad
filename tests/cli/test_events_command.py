"""`teknav events`"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from teknav_ops.events.models import BrokenJob, Event, FinishedJob, JobCompleted, JobFailed, QueuePaused
from teknav_ops.events.publish import publish, publish_stats_updated
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.support.waiting import ANSWER_SECONDS

COMMAND = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()", "events"]


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path), "COLUMNS": "160"}


def publish_event(client: redis.Redis, event: Event) -> str:
    return publish(client, event, kept=1_000)  # type: ignore[arg-type]


def run(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return warm_python.run(
        [*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False
    )


def test_the_newest_events_are_lines_that_a_person_can_read(client: redis.Redis, environment: dict[str, str]) -> None:
    failed = BrokenJob(job_id="j1", job="send-email", error_type="MailRefused", fingerprint="f1")
    publish_event(client, JobFailed(at_ms=1, queue="email:send", jobs=(failed,)))
    done = FinishedJob(job_id="j2", job="send-email", duration_ms=12.3)
    publish_event(client, JobCompleted(at_ms=2, queue="email:send", count=700, jobs=(done,)))
    publish_event(client, QueuePaused(at_ms=3, queue="search:index", actor="sara"))
    publish_stats_updated(client, ["email:send"], at_ms=4, kept=1_000)  # type: ignore[arg-type]

    lines = run(environment).stdout.splitlines()
    assert "send-email j1: MailRefused (f1)" in lines[0]
    assert "700 jobs" in lines[1] and "by sara" in lines[2] and "1 queues" in lines[3]
    assert len(run(environment, "--queue", "search:index").stdout.splitlines()) == 1


def test_json_gives_ids_to_go_on_from(client: redis.Redis, environment: dict[str, str]) -> None:
    ids = [publish_event(client, QueuePaused(at_ms=number, queue="search:index", actor="sara")) for number in range(3)]

    found = [json.loads(line) for line in run(environment, "--json", "--since-id", ids[0]).stdout.splitlines()]
    assert [event["id"] for event in found] == ids[1:]
    assert found[0]["atMs"] == 1


def test_what_was_wrong_is_named(environment: dict[str, str]) -> None:
    assert "no 'nobody'" in run(environment, "--queue", "nobody").stderr
    wrong = run(environment, "--since-id", "yesterday")
    assert wrong.returncode == 2 and "last_id" in wrong.stderr


def test_following_prints_what_comes(client: redis.Redis, environment: dict[str, str]) -> None:
    first = publish_event(client, QueuePaused(at_ms=1, queue="search:index", actor="sara"))
    process = warm_python.Process(
        [*COMMAND, "--follow", "--json", "--since-id", first], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        told = publish_event(client, QueuePaused(at_ms=2, queue="search:index", actor="sara"))
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["id"] == told
    finally:
        process.kill()
        process.communicate()
