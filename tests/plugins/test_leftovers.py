"""A run that leaves something behind fails and names it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support import warm_python

ROOT = Path(__file__).parents[2]
LEFT = """
import socket, subprocess, tempfile
from tests.support.folders import new_folder
from tests.support.ports import free_port, listen

KEPT = []

def test_a_process():
    subprocess.Popen(["sleep", "601"])

def test_a_process_without_our_environment():
    subprocess.Popen(["sleep", "602"], env={})

def test_a_process_that_stands_by_itself():
    subprocess.Popen(["sh", "-c", "sleep 603 &"], env={}, cwd=new_folder(), start_new_session=True).wait()

def test_a_listening_socket():
    KEPT.append(listen())

def test_a_udp_socket():
    KEPT.append(socket.socket(type=socket.SOCK_DGRAM))
    KEPT[-1].bind(("127.0.0.1", free_port()))

def test_a_temporary_file():
    tempfile.mkstemp()
"""


def run(folder: Path, file: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_one.py").write_text(file)
    plugins = ("-p", "tests.plugins.leftovers", "-p", "no:randomly")
    return warm_python.run(
        [sys.executable, "-m", "pytest", *plugins, "--rootdir=.", "test_one.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEST_GRACE_SECONDS": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip


def test_what_is_left_behind_fails_the_run_by_name(tmp_path: Path) -> None:
    ended = run(tmp_path, LEFT)

    assert ended.returncode == 1 and "6 passed" in ended.stdout
    for named in (
        "still runs: sleep 601", "still runs: sleep 602", "still runs: sleep 603", "listens on TCP port",
        "listens on UDP port", "a test left its folder: teknav-test-",
        "a test left a temporary file: tmp",
    ):  # fmt: skip
        assert named in ended.stdout


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    ended = run(tmp_path, "def test_one(): pass")

    assert ended.returncode == 0 and "left behind" not in ended.stdout
