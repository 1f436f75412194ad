"""Nothing is left running, listening or lying about after a run: whatever is fails it, by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import databases, warm_python
from tests.support.folders import RUN_FOLDER_VARIABLE
from tests.support.waiting import until

#: How long processes that were told to end may take.
_GRACE_SECONDS = 15.0


class Leftovers:
    """Marks what belongs to this run, and looks for it at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="teknav-tests-"))
        os.environ[RUN_FOLDER_VARIABLE] = str(self.folder)
        self.found: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        _stop_servers()
        os.environ.pop(warm_python.SOCKET_VARIABLE, None)
        if not hasattr(session.config, "workerinput") and not session.config.getoption("numprocesses", None):
            self.found += _sockets()
        self.found += _processes(self.folder) + _folders(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.found and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_testnodedown(self, node: Any) -> None:
        self.found += getattr(node, "workeroutput", {}).get("sockets", [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.found:
            terminalreporter.section("left behind by the tests", red=True, bold=True)
            for line in self.found:
                terminalreporter.line(line)


class WorkersEnd:
    """In each process that runs tests for another: ends its servers, and tells which sockets still listen."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        _stop_servers()
        session.config.workeroutput["sockets"] = _sockets()  # type: ignore[attr-defined]


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        config.pluginmanager.register(WorkersEnd())
        return
    config.pluginmanager.register(Leftovers())
    if config.getoption("numprocesses", None) and not config.option.collectonly:
        os.environ[warm_python.SOCKET_VARIABLE] = warm_python.start_server()


def _stop_servers() -> None:
    # Most processes have no browser, and need not import what drives one.
    if "tests.support.browser" in sys.modules:
        sys.modules["tests.support.browser"].stop_chromium()
    databases.stop_postgres()
    warm_python.stop_servers()


def _sockets() -> list[str]:
    listening = [c for c in psutil.Process().net_connections(kind="inet") if c.status == psutil.CONN_LISTEN]
    return [f"a socket of the tests' own process listens on port {connection.laddr.port}" for connection in listening]


def _processes(folder: Path) -> list[str]:
    with contextlib.suppress(AssertionError):
        until(lambda: not _running(folder), seconds=_GRACE_SECONDS)
    found = []
    for process in _running(folder):
        try:
            found.append(f"process {process.pid} still runs: {' '.join(process.cmdline())[:200]}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return found


def _running(folder: Path) -> list[psutil.Process]:
    """Every process that has this run's mark in its environment, but us and those that we come from."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    mark = str(folder)
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in ours and process.environ().get(RUN_FOLDER_VARIABLE) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return [process for process in found if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def _folders(folder: Path) -> list[str]:
    return [f"a test left its folder: {path.name}" for path in sorted(folder.glob("teknav-test-*"))]
