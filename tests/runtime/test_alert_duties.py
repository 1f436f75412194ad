"""Alerts in a real scheduler: told once however often it is killed; a wrong rule is named at the start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.alerts.conftest import told
from tests.cli.test_cli import kill_one
from tests.conftest import SECRET_KEY
from tests.support import warm_python
from tests.support.databases import migrate
from tests.support.http_receiver import HttpReceiver
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

RULES = json.dumps([{"kind": "dlq_inflow", "limit_count": 0, "queues": ["search:index"]}])
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(redis_server: RedisServer, tmp_path: Path) -> Iterator[Start]:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    started: list[subprocess.Popen[str]] = []

    def run(**settings: str) -> subprocess.Popen[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")},
            "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path), "TEKNAV_SECRET_KEY": SECRET_KEY,
            **settings,
        }  # fmt: skip
        command = [sys.executable, "-m", "teknav_ops.runtime.scheduler"]
        log = (tmp_path / f"scheduler-{len(started)}.log").open("w")
        started.append(warm_python.Process(command, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True))
        log.close()
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()


def test_a_wrong_rule_or_channel_stops_the_scheduler_with_its_name(start: Start, tmp_path: Path) -> None:
    rule = start(TEKNAV_ALERT_RULES='[{"kind": "audit_lag", "limit_seconds": 0}]')
    url = start(TEKNAV_ALERT_WEBHOOK_URL="chat.example")

    assert (rule.wait(30), url.wait(30)) == (1, 1)
    assert "error: alert_rules[0] (audit_lag): limit_seconds: " in (tmp_path / "scheduler-0.log").read_text()
    assert "error: TEKNAV_ALERT_WEBHOOK_URL: " in (tmp_path / "scheduler-1.log").read_text()


def test_an_alert_is_told_once_though_its_scheduler_is_killed_and_another_takes_over(
    start: Start, redis_server: RedisServer
) -> None:
    kill_one(redis_server)
    with HttpReceiver() as receiver:
        settings = {"TEKNAV_ALERT_RULES": RULES, "TEKNAV_ALERT_WEBHOOK_URL": receiver.url}
        first = start(**settings)
        until(lambda: receiver.requests, seconds=60, what="the message")
        first.send_signal(signal.SIGKILL)

        start(**settings)
        until(lambda: _has_looked(redis_server), seconds=60, what="the successor's look")

        assert told(receiver) == [("alert.opened", "dlq-inflow", ["search:index"])]
        assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1


def _has_looked(redis_server: RedisServer) -> bool:
    """The successor notes since when conditions hold, once they are taken from it."""
    with redis_server.client() as client:
        if client.get("test:forgotten") is None:
            client.delete("teknav:{alerts}:since")
            client.set("test:forgotten", 1)
        return bool(client.exists("teknav:{alerts}:since"))
