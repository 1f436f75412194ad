"""Nothing is left running, listening or lying about after a run: whatever is fails it, by name."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support import databases, run_postgres, warm_python
from tests.support.folders import RUN_FOLDER_VARIABLE
from tests.support.waiting import until

#: How long processes that were told to end may take.
_GRACE_SECONDS = float(os.environ.get("TEST_GRACE_SECONDS", "15"))
#: Where temporary files of a run lie, in its folder.
_TEMPORARY = "tmp"
#: The lock by which the PostgreSQL wheel starts one server at a time.
_KEPT = ".lockfile"


class Leftovers:
    """Marks what belongs to this run, and looks for it at the end."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="teknav-tests-"))
        os.environ[RUN_FOLDER_VARIABLE] = str(self.folder)
        _make_temporary_files_in(self.folder / _TEMPORARY)
        self.found: list[str] = []

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        _stop_servers()
        run_postgres.stop(self.folder)
        os.environ.pop(warm_python.SOCKET_VARIABLE, None)
        if not session.config.getoption("numprocesses", None):
            self.found += _own(self.folder)
        self.found += _processes(self.folder) + _folders(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.found and session.exitstatus == 0:
            session.exitstatus = 1

    def pytest_testnodedown(self, node: Any) -> None:
        self.found += getattr(node, "workeroutput", {}).get("leftovers", [])

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.found:
            terminalreporter.section("left behind by the tests", red=True, bold=True)
            for line in self.found:
                terminalreporter.line(line)


def _make_temporary_files_in(folder: Path) -> None:
    """What a test or a program makes by `tempfile` lies there from now on; pytest's own folders stay."""
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    folder.mkdir()
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


class WorkersEnd:
    """In each process that runs tests for another: ends its servers, and tells what it has left."""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        _stop_servers()
        found = _own(Path(os.environ[RUN_FOLDER_VARIABLE]))
        session.config.workeroutput["leftovers"] = found  # type: ignore[attr-defined]


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
    databases.stop()
    warm_python.stop_servers()


def _own(folder: Path) -> list[str]:
    """What a process that runs tests still has: sockets that listen, and children that its mark would not find."""
    return _sockets() + _told(lambda: [child for child in _children() if not _is_marked(child, str(folder))])


def _sockets() -> list[str]:
    connections = psutil.Process().net_connections(kind="inet")
    kinds = {(socket.SOCK_STREAM, psutil.CONN_LISTEN): "TCP", (socket.SOCK_DGRAM, psutil.CONN_NONE): "UDP"}
    listening = [(kind, found) for found in connections if (kind := kinds.get((found.type, found.status)))]
    return [
        f"a socket of the tests' own process listens on {kind} port {found.laddr.port}" for kind, found in listening
    ]


def _children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if _is_alive(child)]


def _processes(folder: Path) -> list[str]:
    return _told(lambda: _running(folder))


def _told(running: Callable[[], list[psutil.Process]]) -> list[str]:
    """Those that still run after a while; they are ended."""
    with contextlib.suppress(AssertionError):
        until(lambda: not running(), seconds=_GRACE_SECONDS)
    found = []
    for process in running():
        try:
            found.append(f"process {process.pid} still runs: {' '.join(process.cmdline())[:200]}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return found


def _running(folder: Path) -> list[psutil.Process]:
    """Every process that has this run's mark in its environment, or works in its folder, but us and our parents."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    marked = (process for process in psutil.process_iter() if _is_marked(process, str(folder)))
    return [process for process in marked if process.pid not in ours and _is_alive(process)]


def _is_marked(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        if process.environ().get(RUN_FOLDER_VARIABLE) == mark:
            return True
    with contextlib.suppress(psutil.Error, OSError):
        return process.cwd().startswith(mark)
    return False


def _is_alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    return False


def _folders(folder: Path) -> list[str]:
    left = [f"a test left its folder: {path.name}" for path in sorted(folder.glob("teknav-test-*"))]
    temporary = sorted(path.name for path in (folder / _TEMPORARY).iterdir() if path.name != _KEPT)
    return left + [f"a test left a temporary file: {name}" for name in temporary]
