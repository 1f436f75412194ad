"""`dramatiq workers` works as Dramatiq's users expect: queues, signals, exit codes, log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.topology import TOPOLOGY
from tests.conftest import SECRET_KEY
from tests.support.databases import migrate
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    return {
        **os.environ, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def kill_workers(redis_server: RedisServer) -> Iterator[None]:
    """Workers of a failed test would take the next one's jobs."""
    yield
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "dramatiq" in " ".join(process.cmdline()):
                process.kill()


def start(environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    # The script, not `python -m`: Dramatiq restarts itself under the name it was called by.
    command = [str(Path(sys.executable).parent / "dramatiq"), "workers", *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_only_the_named_queues_are_served_and_sigterm_is_exit_code_0(
    environment: dict[str, str], client: redis.Redis, cipher: Cipher
) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    process = start(environment, "-p", "2", "-t", "2", "--queues", "search:index", "media:optimize")
    producer.enqueue_email_send(to="a@example.com", subject="s", text="t")
    producer.enqueue_search_index(article_id=1)
    until(lambda: queries.counts("search:index").completed == 1, seconds=40)

    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=40)

    assert process.returncode == 0, log
    assert queries.counts("email:send").waiting == 1
    assert "Worker has been shut down" in log and "Traceback" not in log
    assert "search.indexed" in log and "job_id=" in log


def test_sighup_starts_the_workers_anew(environment: dict[str, str], client: redis.Redis) -> None:
    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    process = start(environment, "-p", "1", "-t", "1")
    until(lambda: queries.counts("email:send").workers == 1, seconds=40)

    process.send_signal(signal.SIGHUP)
    until(lambda: queries.counts("email:send").workers == 2, seconds=40)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)

    assert process.returncode == 0


def test_watching_for_changes_starts(environment: dict[str, str], client: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "changed.py").write_text("x = 0\n")
    process = start(environment, "-p", "1", "-t", "1", "--watch", str(tmp_path / "watched"))
    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    until(lambda: queries.counts("email:send").workers == 1, seconds=40)
    (tmp_path / "watched" / "changed.py").write_text("x = 1\n")
    until(lambda: queries.counts("email:send").workers == 2, seconds=40)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)


def test_in_production_every_line_is_json(environment: dict[str, str], client: redis.Redis, cipher: Cipher) -> None:
    process = start({**environment, "TEKNAV_ENVIRONMENT": "production"}, "-p", "1", "-t", "1")
    Producer(client, cipher=cipher).enqueue_search_index(article_id=1)  # type: ignore[arg-type]
    until(lambda: JobQueries(client, TOPOLOGY).counts("search:index").completed == 1, seconds=40)  # type: ignore[arg-type]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=40)

    lines = [line for line in log.splitlines() if "MainProcess" not in line]
    entries = [json.loads(line) for line in lines]
    assert any(entry["event"] == "search.indexed" and entry["queue"] == "search:index" for entry in entries)
