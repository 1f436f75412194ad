"""`teknav lab`, from outside: JupyterLab starts, asks nobody for news, and ends with its kernels at Ctrl-C."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.cli.test_cli import Teknav, environment, teknav
from tests.notebooks.conftest import MAIN, NOTEBOOKS
from tests.support import warm_python
from tests.support.processes import children_of, command_of, kill_all
from tests.support.waiting import ANSWER_SECONDS, until

__all__ = ["environment", "teknav"]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def lab_log(environment: dict[str, str], tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """The command on a copy of the notebooks, with Jupyter's own folders apart from this machine's."""
    folder, log = tmp_path / "ops_notebooks", tmp_path / "lab.log"
    shutil.copytree(NOTEBOOKS, folder)
    own = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "RUNTIME", "DATA")}
    with log.open("wb") as output:
        process = warm_python.Process(
            [sys.executable, "-c", MAIN, "lab", str(folder), "--port", "0", "--no-browser"], env=environment | own,
            stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process, log
    finally:
        if process.poll() is None:
            kill_all(children_of(process.pid))
            process.kill()
            process.wait()


def test_jupyterlab_starts_with_a_token_and_without_news_and_ends_at_ctrl_c(
    lab_log: tuple[subprocess.Popen[bytes], Path],
) -> None:
    process, log = lab_log
    found = until(lambda: re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", log.read_text()))
    url, token = found[1], found[2]
    with httpx.Client(base_url=url, headers={"authorization": f"token {token}"}, timeout=20) as client:
        page = client.get("/lab", follow_redirects=True)
        assert page.status_code == 200 and '"news": {"disabled": true}' in page.text
        assert {entry["name"] for entry in client.get("/api/contents").json()["content"]} >= {"queue_health.ipynb"}
        assert httpx.get(f"{url}/api/contents", timeout=20).status_code == 403
        # It asks nobody whether it may fetch news.
        schema = client.get("/lab/api/settings/@jupyterlab/apputils-extension:notification").json()["schema"]
        assert schema["properties"]["fetchNews"]["default"] == "false"
        assert schema["properties"]["checkForUpdates"]["default"] is False
        started = client.post("/api/kernels", json={"name": "python3"})
        assert started.status_code == 201
    kernels = [child for child in children_of(process.pid) if "ipykernel" in command_of(child)]
    assert len(kernels) == 1 and kernels[0].cmdline()[0] == sys.executable

    process.send_signal(signal.SIGINT)

    assert process.wait(30) == 0
    until(lambda: not kernels[0].is_running() or kernels[0].status() == psutil.STATUS_ZOMBIE, what="the kernel's end")


def test_a_folder_without_notebooks_and_an_unknown_profile_are_refused(teknav: Teknav, tmp_path: Path) -> None:
    empty = teknav("lab", str(tmp_path))
    assert empty.returncode == 2 and "TEKNAV_NOTEBOOKS_DIR" in empty.stderr
    unknown = teknav("lab", str(NOTEBOOKS), "--profile", "staging")
    assert unknown.returncode == 2 and "staging.toml" in unknown.stderr.replace("\n", "")
    address = teknav("lab", str(NOTEBOOKS), "--profile", "redis://:hunter2@h")
    assert address.returncode == 2 and "hunter2" not in address.stderr


#: A server with a kernel in a session of its own, which says who they are; it does not end by itself.
FAMILY = """
import subprocess, sys, time
kernel = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(kernel.pid, flush=True)
time.sleep(600)
"""
RUN = f"""
import os, sys
from teknav_ops.cli.lab import run_until_told
sys.exit(run_until_told([sys.executable, "-c", {FAMILY!r}], dict(os.environ)))
"""
#: As in a terminal of its own, also where the tests are run by `nohup`.
IN_A_TERMINAL = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n{RUN}"


def family(environment: dict[str, str]) -> tuple[subprocess.Popen[str], psutil.Process, psutil.Process]:
    """The command's process, its server and the server's kernel."""
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout as said:
        kernel = psutil.Process(int(said.readline()))
    return process, psutil.Process(kernel.ppid()), kernel


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_all_that_it_started_ends_for_any_signal(environment: dict[str, str], number: signal.Signals) -> None:
    process, server, kernel = family(environment)
    process.send_signal(number)

    assert process.wait(60) == 0
    assert not kernel.is_running() and not server.is_running()


def test_all_ends_when_what_started_the_command_is_killed(environment: dict[str, str]) -> None:
    # As `make lab` does: a process that waits for the command.
    script = '"$0" -c "$1"; :'
    starter = subprocess.Popen(
        ["sh", "-c", script, sys.executable, IN_A_TERMINAL], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    with starter.stdout as said:
        kernel = psutil.Process(int(said.readline()))
    server = psutil.Process(kernel.ppid())
    command = psutil.Process(server.ppid())
    until(lambda: command.num_threads() > 1, what="somebody who watches")

    starter.kill()
    starter.wait()

    _, alive = psutil.wait_procs([command, server, kernel], timeout=ANSWER_SECONDS)
    assert alive == []


def test_started_by_nohup_it_goes_on_when_the_terminal_ends(environment: dict[str, str]) -> None:
    process = subprocess.Popen(
        ["nohup", sys.executable, "-c", RUN],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        kernel = psutil.Process(int(said.readline()))
    until(lambda: _signals(process, "SigCgt") & _bit(signal.SIGTERM), what="the command's handlers")

    assert _signals(process, "SigIgn") & _bit(signal.SIGHUP)

    process.terminate()
    assert process.wait(60) == 0 and not kernel.is_running()


def _signals(process: subprocess.Popen[str], name: str) -> int:
    """A set of signals in what the system says of a process."""
    found = re.search(rf"{name}:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1], 16)


def _bit(number: signal.Signals) -> int:
    return 1 << (number - 1)


def test_the_server_ends_when_the_command_is_killed(environment: dict[str, str]) -> None:
    process, server, kernel = family(environment)
    process.kill()
    process.wait()

    gone, _ = psutil.wait_procs([server], timeout=ANSWER_SECONDS)
    assert gone == [server] or server.status() == psutil.STATUS_ZOMBIE
    # A stand-in; true kernels see themselves that their server has ended.
    kernel.kill()
