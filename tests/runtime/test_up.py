"""`teknav up`, watched from outside: it starts, works, stops cleanly, and keeps its data."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.waiting import until

pytestmark = [pytest.mark.timeout(240), pytest.mark.xdist_group("up")]
COMMAND = [sys.executable, "-c", "from teknav_ops.cli.app import main; main()"]


class House:
    """One data folder, in which `teknav` commands run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Only the wheel's server: the machine may have another on its PATH.
        path = os.pathsep.join(
            p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "redis-server").exists()
        )
        self.started: list[subprocess.Popen[str]] = []
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_")}
        self.environment = {**plain, "TEKNAV_DATA_DIR": str(folder / "data"), "PATH": path}

    def up(self, *options: str) -> subprocess.Popen[str]:
        with (self.folder / "up.log").open("a") as log:
            started = subprocess.Popen(
                [*COMMAND, "up", *options], env=self.environment, stdout=log, stderr=log, text=True
            )
        self.started.append(started)
        return started

    def ask(self, *arguments: str) -> Any:
        answer = subprocess.run(
            [*COMMAND, *arguments, "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return json.loads(answer.stdout) if answer.returncode == 0 else None

    def counts(self) -> dict[str, Any]:
        return {row["name"]: row for row in self.ask("queues") or []}

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if str(self.folder) in process.environ().get("TEKNAV_DATA_DIR", "") or str(self.folder) in " ".join(
                    process.cmdline()
                ):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    built = House(tmp_path)
    yield built
    for process in built.processes():
        with suppress(psutil.NoSuchProcess):
            process.kill()
    for started in built.started:
        # A process that nobody waits for is a warning, in whichever test comes next.
        started.wait(30)


def done(house: House, queue: str) -> int:
    return int(house.counts().get(queue, {}).get("completed", 0))


def stop(process: subprocess.Popen[str]) -> int:
    process.send_signal(signal.SIGINT)
    return process.wait(60)


def wait_for(condition: Callable[[], Any], house: House, what: str) -> Any:
    try:
        return until(condition, seconds=90, what=what)
    except AssertionError as error:
        logs = [path.read_text() for path in (house.folder / "up.log", *(house.folder / "data/logs").glob("*.log"))]
        raise AssertionError(f"{error}\n" + "\n".join(logs)[-6_000:]) from None


def test_it_runs_real_jobs_stops_on_ctrl_c_and_keeps_its_data(house: House) -> None:
    first = house.up("-p", "2", "-t", "4")
    wait_for(lambda: done(house, "media:optimize") >= 7 and done(house, "search:index") >= 6, house, "the first jobs")
    wait_for(lambda: done(house, "ai:seo") >= 5 and done(house, "ai:review") >= 5, house, "the first reviews")
    only = [f"--queue={queue}" for queue in ("plugins:execute", "workflows:run", "webhooks:deliver", "email:send")]
    subprocess.run([*COMMAND, "demo", "--rate=10", "--for=4s", *only], env=house.environment, check=True, timeout=60)
    for queue in ("plugins:execute", "workflows:run", "webhooks:deliver", "email:send"):
        wait_for(lambda queue=queue: done(house, queue) >= 1, house, f"a job of {queue}")  # type: ignore[misc]
    data = house.folder / "data"
    assert len(list((data / "media" / "variants").rglob("*.avif"))) >= 7
    assert list((data / "outbox").glob("*.eml"))
    (hit, *_) = house.ask("search", "میشود")
    assert hit["language"] == "fa"
    assert [finding["check"] for finding in house.ask("doctor")] == [
        "versions", "settings", "alerts", "reports", "redis", "database", "workers",
    ]  # fmt: skip
    completed = done(house, "media:optimize")
    (url,) = re.findall(r"^Metrics +(http://\S+)$", (house.folder / "up.log").read_text(), re.M)
    with urllib.request.urlopen(url, timeout=10) as page:
        assert 'teknav_jobs_completed_total{job="optimize-image",queue="media:optimize"}' in page.read().decode()

    assert stop(first) == 0
    assert until(lambda: not house.processes(), what="every process's end")

    second = house.up("--no-demo", "-p", "1", "-t", "2")
    wait_for(lambda: done(house, "media:optimize") >= completed, house, "the kept data")
    assert house.ask("search", "redis")
    assert stop(second) == 0
    text = (house.folder / "up.log").read_text()
    assert "Traceback" not in text and "Stopped. Your data is in" in text


def test_it_serves_the_dashboard_and_says_how_the_first_owner_gets_in(house: House) -> None:
    first = house.up("--no-demo", "-p", "1", "-t", "1")
    log = house.folder / "up.log"
    printed = re.compile(r"First owner (http://\S+/sign-in/first/\S+)")
    link = wait_for(lambda: printed.search(log.read_text()), house, "the link")

    def page() -> str:
        with suppress(httpx.TransportError):
            return httpx.get(link[1], timeout=10).text
        return ""

    wait_for(lambda: "Create owner" in page(), house, "the dashboard")
    assert "sign-in/first" not in (house.folder / "data/logs/web.log").read_text()
    assert stop(first) == 0
    assert until(lambda: not house.processes(), what="every process's end")


def test_a_second_one_in_the_same_folder_is_refused(house: House) -> None:
    first = house.up("--no-demo", "-p", "1", "-t", "1")
    wait_for(lambda: house.counts(), house, "the first")

    second = house.up()
    assert second.wait(60) == 2
    assert "is running already" in (house.folder / "up.log").read_text()
    assert stop(first) == 0


def test_workers_that_die_are_started_again_and_a_killed_supervisor_leaves_no_workers(house: House) -> None:
    first = house.up("--no-demo", "-p", "1", "-t", "2")
    wait_for(lambda: (house.counts().get("email:send") or {}).get("workers"), house, "a worker")

    def masters() -> list[psutil.Process]:
        return [p for p in house.processes() if "dramatiq" in " ".join(p.cmdline()) and p.ppid() == first.pid]

    before = masters()[0]
    before.kill()
    wait_for(lambda: [p for p in masters() if p.pid != before.pid], house, "new workers")

    first.kill()
    first.wait()
    until(lambda: not [p for p in house.processes() if "valkey" not in p.name()], seconds=60, what="the workers' end")
