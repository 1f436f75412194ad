"""`teknav up`, watched from outside: it starts, works, stops cleanly, and keeps its data."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.metrics.scheduler_state import read_scheduler
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY
from tests.support import warm_python
from tests.support.folders import new_folder, remove_folder
from tests.support.processes import children_of, command_of
from tests.support.waiting import ANSWER_SECONDS, until

pytestmark = pytest.mark.timeout(900)
#: Four programs start at once, in interpreters of their own: some ten seconds of CPU. Where thirty processes want two
#: cores they were seen to need more than 90 s for it.
_START_SECONDS = 300
COMMAND = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()"]


class Installation:
    """One data folder, in which `teknav` commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "up.log"
        # Only the wheel's server: the machine may have another on its PATH.
        path = os.pathsep.join(
            p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "redis-server").exists()
        )
        self._started: list[subprocess.Popen[str]] = []
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")}
        # The demo's own report has tests of its own, and takes seconds of CPU.
        self.environment = {**plain, "TEKNAV_DATA_DIR": str(self.data), "PATH": path, "TEKNAV_REPORT_SCHEDULES": "[]"}

    def up(self, *options: str, is_warm: bool = False) -> subprocess.Popen[str]:
        """Start it, in interpreters of its own; or warm, with all that it starts."""
        kind: type[subprocess.Popen[Any]] = warm_python.Process if is_warm else subprocess.Popen
        warm = {warm_python.EXECUTABLE_VARIABLE: warm_python.executable()} if is_warm else {}
        with self.log.open("a") as log:
            started = kind(
                [*COMMAND, "up", *options], env={**self.environment, **warm}, stdout=log, stderr=log, text=True
            )
        self._started.append(started)
        return started

    def ask(self, *arguments: str) -> Any:
        command = [*COMMAND, *arguments, "--json"]
        answer = warm_python.run(
            command, env=self.environment, capture_output=True, text=True, timeout=_START_SECONDS, check=True
        )
        return json.loads(answer.stdout)

    @cached_property
    def client(self) -> Client:
        return connect(find_redis_url(Settings(data_dir=self.data, redis_url=None)))

    @property
    def queries(self) -> JobQueries:
        return JobQueries(self.client, TOPOLOGY)

    def is_serving(self) -> bool:
        """Whether its server answers and a worker is there."""
        with suppress(Exception):
            return self.queries.counts("email:send").workers > 0
        return False

    def completed(self, queue: str) -> int:
        return self.queries.counts(queue).completed

    def processes(self, *, without: str = "/") -> list[psutil.Process]:
        """Those that belong to it, but for those with this in their name."""
        found = []
        for process in psutil.process_iter():
            try:
                if without in process.name():
                    continue
                if str(self.folder) in process.environ().get("TEKNAV_DATA_DIR", "") or str(self.folder) in " ".join(
                    process.cmdline()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def wait_for(self, condition: Callable[[], Any], what: str) -> Any:
        try:
            return until(condition, seconds=_START_SECONDS, what=what)
        except AssertionError as error:
            logs = [path.read_text() for path in (self.log, *(self.data / "logs").glob("*.log"))]
            raise AssertionError(f"{error}\n" + "\n".join(logs)[-6_000:]) from None

    def remove(self) -> None:
        self.client.close()
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for started in self._started:
            # A process that nobody waits for is a warning, in whichever test comes next.
            started.wait(30)


@contextmanager
def installed(folder: Path) -> Iterator[Installation]:
    built = Installation(folder)
    try:
        yield built
    finally:
        built.remove()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with installed(tmp_path) as built:
        yield built


@pytest.fixture(scope="module")
def running() -> Iterator[Installation]:
    """One that was started with the demo, warm, for the tests that ask and leave it running."""
    folder = new_folder()
    with installed(folder) as built:
        started = built.up("-p", "1", "-t", "4", is_warm=True)
        built.wait_for(built.is_serving, "the workers")
        yield built
        assert stop(started) == 0
        until(lambda: not built.processes(), what="every process's end")
        assert "Traceback" not in built.log.read_text()
    remove_folder(folder)


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(60)


def masters_of(supervisor: int) -> list[psutil.Process]:
    return [child for child in children_of(supervisor, recursive=False) if "dramatiq" in command_of(child)]


def workers_of(supervisor: int) -> list[psutil.Process]:
    """The processes that run jobs: children of masters, beside the trackers of their semaphores."""
    found: list[psutil.Process] = []
    for master in masters_of(supervisor):
        with suppress(psutil.Error):
            found += [child for child in master.children() if child.num_threads() > 3]
    return found


def test_it_runs_real_jobs(running: Installation) -> None:
    # Which jobs are the first ones: test_demo.py; that each photograph comes out right: tests/workers.
    running.wait_for(lambda: running.completed("media:optimize") >= 1, "the first photograph")
    running.wait_for(lambda: running.completed("search:index") >= 6, "the first search documents")
    running.wait_for(lambda: min(map(running.completed, ("ai:seo", "ai:review"))) >= 1, "the first reviews")
    assert list((running.data / "media" / "variants").rglob("*.avif"))
    (hit, *_) = running.ask("search", "میشود")
    assert hit["language"] == "fa"


def test_its_files_are_open_to_their_owner_only(running: Installation) -> None:
    running.wait_for(lambda: list((running.data / "outbox").glob("*.eml")), "the first mail")
    found = [running.data, *running.data.rglob("*")]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in found if path.exists()}

    assert stat.S_IMODE(running.data.stat().st_mode) == 0o700
    media = running.data / "media"
    assert not [(path, oct(mode)) for path, mode in modes.items() if mode & 0o077 and not path.is_relative_to(media)]
    assert len(modes) > 20


def test_the_demos_load_reaches_the_queues_that_are_asked_for(running: Installation) -> None:
    queues = ("plugins:execute", "workflows:run", "webhooks:deliver", "email:send")
    only = [f"--queue={queue}" for queue in queues]
    command = [*COMMAND, "demo", "--rate=3", "--for=1h", *only]
    load = warm_python.Process(command, env=running.environment, stdout=subprocess.DEVNULL)
    try:
        for queue in queues:
            running.wait_for(lambda queue=queue: running.completed(queue) >= 1, f"a job of {queue}")  # type: ignore[misc]
    finally:
        load.send_signal(signal.SIGINT)
        load.wait(45)
    assert list((running.data / "outbox").glob("*.eml"))


def test_doctor_and_metrics_see_it(running: Installation) -> None:
    running.wait_for(lambda: read_scheduler(running.client, TOPOLOGY) == "publishes", "the scheduler's figures")
    assert [finding["check"] for finding in running.ask("doctor")] == [
        "versions", "settings", "files", "disk", "alerts", "reports", "ai", "mail", "sms", "redis", "clock", "database",
        "audit", "keys", "scheduler", "workers", "jobs",
    ]  # fmt: skip
    running.wait_for(lambda: running.completed("media:optimize"), "a photograph")
    (url,) = re.findall(r"^Metrics +(http://\S+)$", running.log.read_text(), re.M)

    def page() -> str:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            return str(answer.read().decode())

    sample = 'teknav_jobs_completed_total{job="optimize-image",queue="media:optimize"}'
    running.wait_for(lambda: sample in page(), "the sample")


def test_it_serves_the_dashboard_and_says_how_the_first_owner_gets_in(running: Installation) -> None:
    link = re.search(r"First owner (http://\S+/sign-in/first/\S+)", running.log.read_text())
    assert link

    def page() -> str:
        with suppress(httpx.TransportError):
            return httpx.get(link[1], timeout=ANSWER_SECONDS).text
        return ""

    running.wait_for(lambda: "Create owner" in page(), "the dashboard")
    assert "sign-in/first" not in (running.data / "logs/web.log").read_text()


def test_a_second_one_in_the_same_folder_is_refused(running: Installation) -> None:
    command = [*COMMAND, "up"]
    second = warm_python.run(command, env=running.environment, capture_output=True, text=True, timeout=_START_SECONDS)

    assert second.returncode == 2
    assert "is running already" in second.stderr


def test_it_restarts_what_dies_stops_on_ctrl_c_and_leaves_data_and_no_workers(installation: Installation) -> None:
    options = ("--no-demo", "-p", "2", "-t", "2")
    first = installation.up(*options)
    installation.wait_for(lambda: len(workers_of(first.pid)) == 2, "two workers")
    before, other = workers_of(first.pid)
    before.kill()
    installation.wait_for(lambda: {*workers_of(first.pid)} > {other}, "a new worker beside the other")
    (server,) = [process for process in installation.processes() if "valkey" in process.name()]
    server.kill()
    installation.wait_for(lambda: "Valkey ended (exit code -9)" in installation.log.read_text(), "the server's end")
    installation.wait_for(installation.is_serving, "the server that was started again")
    completed = installation.completed("search:index")
    installation.ask("enqueue", "search:index", "index-article", "--data", '{"article_id": 1}')
    installation.wait_for(lambda: installation.completed("search:index") == completed + 1, "a job of the new workers")

    assert stop(first) == 0
    until(lambda: not installation.processes(), what="every process's end")

    second = installation.up("--no-demo", "-p", "1", "-t", "2")
    installation.wait_for(installation.is_serving, "the workers of the second start")
    assert installation.completed("search:index") == completed + 1
    text = installation.log.read_text()
    assert "Traceback" not in text and "Stopped. Your data is in" in text

    second.kill()
    second.wait()
    until(lambda: not installation.processes(without="valkey"), seconds=90, what="the workers' end")
