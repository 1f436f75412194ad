"""`dramatiq workers` works as Dramatiq's users expect: queues, signals, exit codes, log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import TOPOLOGY
from tests.conftest import SECRET_KEY
from tests.support.databases import migrate
from tests.support.processes import children_of, command_of, kill_all
from tests.support.redis_server import RedisServer
from tests.support.waiting import ANSWER_SECONDS, until

pytestmark = pytest.mark.timeout(900)
ROOT = Path(__file__).parents[2]
#: How long workers may take to start, whatever else the machine does.
START_SECONDS = 300


@pytest.fixture
def environment(redis_server: RedisServer, tmp_path: Path) -> dict[str, str]:
    migrate(f"sqlite:///{tmp_path / 'teknav.sqlite3'}")
    return {
        **os.environ, "TEKNAV_REDIS_URL": redis_server.url, "TEKNAV_DATA_DIR": str(tmp_path),
        "TEKNAV_SECRET_KEY": SECRET_KEY,
    }  # fmt: skip


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Starts workers. Those that a failed test leaves would take the next one's jobs."""
    started: list[subprocess.Popen[str]] = []

    def start_workers(*options: str, **changes: str) -> subprocess.Popen[str]:
        # The script, not `python -m`: Dramatiq restarts itself under the name it was called by.
        command = [str(Path(sys.executable).parent / "dramatiq"), "workers", *options]
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environment, **changes}, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start_workers
    kill_all([child for child in children_of(os.getpid()) if "dramatiq" in command_of(child)])
    for process in started:
        process.communicate(timeout=ANSWER_SECONDS)


def worker_ids(client: redis.Redis) -> set[str]:
    """All that have given a sign of life. How many do so at one time depends on how fast the next one starts."""
    return set(client.zrange(QueueKeys("email:send").workers, 0, -1))


def watches_files(pid: int) -> bool:
    """Whether the process has asked the kernel to tell it of changed files."""
    # Files that are closed meanwhile are gone.
    with suppress(OSError):
        return any("inotify wd:" in path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir())
    return False


def test_only_the_named_queues_are_served_and_sigterm_is_exit_code_0(
    start: Start, client: redis.Redis, cipher: Cipher
) -> None:
    producer = Producer(client, cipher=cipher)  # type: ignore[arg-type]
    queries = JobQueries(client, TOPOLOGY)  # type: ignore[arg-type]
    process = start("-p", "2", "-t", "2", "--queues", "search:index", "media:optimize")
    producer.enqueue_email(to="a@example.com", subject="s", text="t")
    producer.enqueue_search_index(article_id=1)
    until(lambda: queries.counts("search:index").completed == 1, seconds=START_SECONDS)

    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=START_SECONDS)

    assert process.returncode == 0, log
    assert queries.counts("email:send").waiting == 1
    assert "Worker has been shut down" in log and "Traceback" not in log
    assert "search.indexed" in log and "job_id=" in log


def test_sighup_starts_the_workers_anew(start: Start, client: redis.Redis) -> None:
    process = start("-p", "1", "-t", "1")
    first = until(lambda: worker_ids(client), seconds=START_SECONDS)

    process.send_signal(signal.SIGHUP)
    until(lambda: worker_ids(client) - first, seconds=START_SECONDS)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=START_SECONDS)

    assert process.returncode == 0


def test_watching_for_changes_starts(start: Start, client: redis.Redis, tmp_path: Path) -> None:
    (tmp_path / "watched").mkdir()
    (tmp_path / "watched" / "changed.py").write_text("x = 0\n")
    process = start("-p", "1", "-t", "1", "--watch", str(tmp_path / "watched"))
    first = until(lambda: worker_ids(client), seconds=START_SECONDS)
    # The first worker may be there before its master looks at files.
    until(lambda: watches_files(process.pid), seconds=START_SECONDS)
    (tmp_path / "watched" / "changed.py").write_text("x = 1\n")
    until(lambda: worker_ids(client) - first, seconds=START_SECONDS)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=START_SECONDS)


def test_in_production_every_line_is_json(start: Start, client: redis.Redis, cipher: Cipher) -> None:
    process = start("-p", "1", "-t", "1", TEKNAV_ENVIRONMENT="production")
    Producer(client, cipher=cipher).enqueue_search_index(article_id=1)  # type: ignore[arg-type]
    until(lambda: JobQueries(client, TOPOLOGY).counts("search:index").completed == 1, seconds=START_SECONDS)  # type: ignore[arg-type]
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=START_SECONDS)

    lines = [line for line in log.splitlines() if "MainProcess" not in line]
    entries = [json.loads(line) for line in lines]
    assert any(entry["event"] == "search.indexed" and entry["queue"] == "search:index" for entry in entries)
