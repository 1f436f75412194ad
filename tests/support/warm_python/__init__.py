"""Python processes that start in milliseconds.

A test that starts a program pays seconds of imports, most of them the same each time. Here one process per run has
imported the libraries once, and forks for each program that a test asks for: `Process` is a real process with a pid, an
environment, files and a session of its own, which may be signalled and killed like any other. What is about the start
of a program itself uses `subprocess` and a new interpreter. What a program starts in its turn with its own
`sys.executable` is forked likewise where EXECUTABLE_VARIABLE in its environment is `executable()`.
"""

from __future__ import annotations

import array
import base64
import contextlib
import json
import os
import pickle
import select
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.folders import new_folder, remove_folder

ROOT: Final = Path(__file__).parents[3]
#: It notices that it is to end once its imports are done, which takes a slow machine a while.
_END_SECONDS: Final = 120
#: Where the run's server listens; the first process that needs one starts it for all.
SOCKET_VARIABLE: Final = "TEST_WARM_PYTHON"
#: Beside that socket: what launchers have cost, by the pid of who started them.
SPENT_FILE: Final = "spent-{}"
#: What a warm program is to take for its `sys.executable`.
EXECUTABLE_VARIABLE: Final = "TEST_WARM_EXECUTABLE"


class Process(subprocess.Popen[Any]):
    """`subprocess.Popen` for a command of Python, forked from the warm process instead of started anew.

    The command is `sys.executable`, then `-m MODULE …` or `-c CODE …`.
    """

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        assert command[0] == sys.executable, f"not a command of this Python: {command[0]}"
        options.setdefault("cwd", ROOT)
        super().__init__([*map(str, command)], **options)

    # The names and their order are the standard library's, which calls this with positional arguments.
    def _execute_child(
        self,
        args: Sequence[str],
        executable: str | None,
        preexec_fn: object,
        close_fds: bool,
        pass_fds: Sequence[int],
        cwd: str | Path | None,
        env: Mapping[str, str] | None,
        startupinfo: object,
        creationflags: int,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: bool,
        gid: object,
        gids: object,
        uid: object,
        umask: int,
        start_new_session: bool,
        process_group: int,
    ) -> None:
        assert not (preexec_fn or pass_fds or shell), "a warm process takes none of these"
        given = (p2cread, c2pwrite, errwrite)
        request = {
            "arguments": list(args)[1:],
            "cwd": str(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
            "new_session": bool(start_new_session),
        }
        self._exited = threading.Event()
        self._connection = _connect()
        _send(self._connection, request, [number if end == -1 else end for number, end in enumerate(given)])
        self._answers = self._connection.makefile("r")
        self.pid = json.loads(self._answers.readline())["pid"]
        self._child_created = True
        self._close_ends_of_child(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
        threading.Thread(target=self._await_exit, daemon=True).start()

    def _close_ends_of_child(
        self, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int
    ) -> None:
        pipes = ((p2cread, p2cwrite), (c2pwrite, c2pread), (errwrite, errread))
        for end in {child for child, parent in pipes if child != -1 and parent != -1}:
            os.close(end)
        devnull = getattr(self, "_devnull", None)
        if devnull is not None:
            os.close(devnull)

    def _await_exit(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            line = self._answers.readline()
            answer = json.loads(line) if line else {"status": -9, "cpu_seconds": 0.0}
            self.returncode = answer["status"]
            _spent[0] += answer["cpu_seconds"]
        self._exited.set()
        with contextlib.suppress(OSError):
            self._answers.close()
            self._connection.close()

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        return self.returncode if self._exited.is_set() else None

    def _wait(self, timeout: float | None) -> int:
        if not self._exited.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        assert self.returncode is not None
        return int(self.returncode)


def start_function(function: Callable[..., object], *arguments: Any, **options: Any) -> Process:
    """A process that calls a function of a module with these arguments, which must be picklable."""
    call = base64.b64encode(pickle.dumps((function, arguments))).decode()
    code = "import base64, pickle, sys; function, arguments = pickle.loads(base64.b64decode(sys.argv[1]))"
    return Process([sys.executable, "-c", f"{code}; function(*arguments)", call], **options)


def run(
    command: Sequence[str],
    *,
    input: str | None = None,
    timeout: float | None = None,
    check: bool = False,
    capture_output: bool = False,
    **options: Any,
) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` for a command of Python, warm."""
    if input is not None:
        options["stdin"] = subprocess.PIPE
    if capture_output:
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Process(command, **options) as process:
        try:
            output, errors = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    finished = subprocess.CompletedProcess(process.args, process.returncode, output, errors)
    if check:
        finished.check_returncode()
    return finished


def _connect() -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(_address())
    return connection


def _address() -> str:
    return os.environ.get(SOCKET_VARIABLE) or _own_server()


@cache
def _own_server() -> str:
    """Start a server for this process alone: where the run has none for all."""
    return start_server()


def start_server() -> str:
    """Listen for who needs the warm process, which starts when somebody does; answers where.

    It ends with its standard input, and its programs with it.
    """
    server = _Server()
    _RUNNING.append(server)
    return server.address


def stop_servers() -> None:
    """End the warm processes that this process has started, and their programs."""
    for server in _RUNNING:
        server.stop()
    _RUNNING.clear()
    _own_server.cache_clear()


def executable() -> str:
    """A stand-in for `sys.executable`: what it is to start with `-m` is forked from the warm process."""
    _asked_for_executable.append(True)
    return str(Path(_address()).with_name("python"))


def _write_executable(path: Path, address: str) -> None:
    launcher = Path(__file__).with_name("launcher.py")
    command = shlex.join([sys.executable, "-IS", str(launcher), address, sys.executable])
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    path.chmod(0o700)


class _Server:
    """A socket, and the warm process behind it from the first connection on."""

    def __init__(self) -> None:
        self._folder = new_folder()
        self.address = str(self._folder / "socket")
        _write_executable(self._folder / "python", self.address)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.address)
        self._listener.listen(64)
        self._process: subprocess.Popen[bytes] | None = None
        self._end, self._ended = socket.socketpair()
        self._starter = threading.Thread(target=self._start_when_needed, daemon=True)
        self._starter.start()

    def _start_when_needed(self) -> None:
        if self._ended in select.select([self._listener, self._ended], [], [])[0]:
            return
        number = self._listener.fileno()
        command = [sys.executable, "-m", "tests.support.warm_python.server", str(number)]
        # Reading from this pipe ends when the process that holds the other end is gone, whoever killed it.
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[number])

    def stop(self) -> None:
        self._end.close()
        self._starter.join(20)
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait(_END_SECONDS)
        self._listener.close()
        self._ended.close()
        remove_folder(self._folder)


def spent_cpu_seconds() -> float:
    """What all programs have spent that this process started here and that have ended."""
    if _asked_for_executable and (SOCKET_VARIABLE in os.environ or _own_server.cache_info().currsize):
        with contextlib.suppress(FileNotFoundError):
            return _spent[0] + float(Path(_address()).with_name(SPENT_FILE.format(os.getpid())).read_text())
    return _spent[0]


_RUNNING: list[_Server] = []
_spent = [0.0]
_asked_for_executable: list[bool] = []


def _send(connection: socket.socket, request: Mapping[str, Any], files: Sequence[int]) -> None:
    body = json.dumps(request).encode("utf-8", "surrogateescape")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))]
    connection.sendmsg([len(body).to_bytes(4, "big")], ancillary)
    connection.sendall(body)
