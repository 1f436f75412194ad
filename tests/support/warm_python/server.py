"""The warm process: imports what programs under test import, then forks for each that is asked for.

It has one thread, so that a fork copies no lock that another holds. A request is a length, a JSON object and three file
descriptors; the answers are a line with the pid, and one with the exit status. Who is tied to its program (a launcher)
sends each signal for it as one byte, and the program is killed when its connection ends.
"""

from __future__ import annotations

import array
import atexit
import collections
import contextlib
import faulthandler
import functools
import json
import os
import random
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil

from tests.support.warm_python import EXECUTABLE_VARIABLE, SPENT_FILE
from tests.support.warm_python.preloading import preload


class Server:
    """Serves requests until standard input ends, as it does when the test run is gone."""

    def __init__(self, listener: socket.socket) -> None:
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, socket.socket] = {}
        #: What launchers asked for: pid of who started the launcher -> seconds of CPU.
        self._spent_for: collections.Counter[int] = collections.Counter()
        self._tied_to: dict[int, int] = {}
        self._listener = listener
        self._wake, write = os.pipe()
        os.set_blocking(write, False)
        os.set_blocking(self._wake, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for source, serve in ((listener, self._accept), (self._wake, self._reap), (0, self._end)):
            self._selector.register(source, selectors.EVENT_READ, serve)

    def serve_for_ever(self) -> None:
        while True:
            for key, _ in self._selector.select():
                key.data(key.fileobj)

    def _accept(self, _: object) -> None:
        connection, _address = self._listener.accept()
        with contextlib.suppress(OSError, ValueError):
            request, files = _receive(connection)
            pid = os.fork()
            if pid == 0:
                # It answers itself, when it has its session: whoever knows the pid may signal the group.
                _become(request, files, connection)
            for file in files:
                os.close(file)
            self._children[pid] = connection
            if "tied_to" in request:
                self._tied_to[pid] = request["tied_to"]
                pass_on = functools.partial(self._pass_on, pid)
                self._selector.register(connection, selectors.EVENT_READ, pass_on)
            return
        connection.close()

    def _pass_on(self, pid: int, _: object) -> None:
        """Signal a program as its launcher was; kill it when its launcher is gone."""
        connection = self._children.get(pid)
        if connection is None:
            # It has ended at the same moment.
            return
        try:
            numbers = connection.recv(64) or bytes([signal.SIGKILL])
        except ConnectionError:
            numbers = bytes([signal.SIGKILL])
        for number in numbers:
            _signal(pid, number)
        if signal.SIGKILL in numbers:
            self._selector.unregister(connection)

    def _reap(self, _: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 4096)
        while self._children:
            try:
                pid, status, spent = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            cpu_seconds = spent.ru_utime + spent.ru_stime + self._spent_for.pop(pid, 0.0)
            connection = self._children.pop(pid)
            if pid in self._tied_to:
                self._note_spent(self._tied_to.pop(pid), cpu_seconds)
                with contextlib.suppress(KeyError):
                    self._selector.unregister(connection)
            with contextlib.suppress(OSError):
                _answer(connection, status=os.waitstatus_to_exitcode(status), cpu_seconds=cpu_seconds)
            connection.close()

    def _note_spent(self, pid: int, cpu_seconds: float) -> None:
        """Charge this process, which finds its sum in a file: a test process looks there before and after each test."""
        self._spent_for[pid] += cpu_seconds
        file = Path(self._listener.getsockname()).with_name(SPENT_FILE.format(pid))
        new = file.with_suffix(".new")
        new.write_text(f"{self._spent_for[pid]:.6f}")
        new.replace(file)

    def _end(self, _: object) -> None:
        # Theirs too: nobody else will end them.
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        os._exit(0)


def _signal(pid: int, number: int) -> None:
    """To the program's group, or to it alone as long as it has none."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    room = socket.CMSG_SPACE(3 * array.array("i").itemsize)
    head, ancillary, _, _ = connection.recvmsg(4, room)
    files = array.array("i")
    for _, _, data in ancillary:
        files.frombytes(data)
    size, body = int.from_bytes(head, "big"), b""
    while len(body) < size:
        body += connection.recv(size - len(body))
    return json.loads(body), list(files)


def _answer(connection: socket.socket, **facts: float) -> None:
    connection.sendall(json.dumps(facts).encode() + b"\n")


def _become(request: dict[str, Any], files: list[int], connection: socket.socket) -> None:
    """In the fork: be the program that was asked for, and never return."""
    code = 1
    try:
        _prepare(request, files, connection)
        _run(request["arguments"])
        code = 0
    except SystemExit as error:
        code = _exit_code(error)
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 130
    except BaseException:
        traceback.print_exc()
    finally:
        code = _finish(code)
        os._exit(code)


def _prepare(request: dict[str, Any], files: list[int], connection: socket.socket) -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["new_session"]:
        os.setsid()
    _answer(connection, pid=os.getpid())
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 256)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["cwd"])
    if "umask" in request:
        os.umask(request["umask"])
    sys.executable = os.environ.get(EXECUTABLE_VARIABLE) or sys.executable
    places = os.environ.get("PYTHONPATH", "")
    sys.path[:0] = [place for place in places.split(os.pathsep) if place]
    sys.path.insert(0, "")
    random.seed()
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        mode, buffering = ("r", -1) if number == 0 else ("w", 1 if os.isatty(number) or number == 2 else -1)
        encoding = os.environ.get("PYTHONIOENCODING", "").partition(":")[0] or "utf-8"
        setattr(sys, name, os.fdopen(number, mode, buffering, encoding=encoding, closefd=False))
        setattr(sys, f"__{name}__", getattr(sys, name))
    if os.environ.get("PYTHONUNBUFFERED"):
        sys.stdout.reconfigure(write_through=True)  # type: ignore[union-attr]


def _run(arguments: list[str]) -> None:
    how, what, *rest = arguments
    if how == "-m":
        sys.argv = [what, *rest]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    assert how == "-c", f"a warm process takes -m or -c, not {how}"
    sys.argv = ["-c", *rest]
    main = ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(what, "<string>", "exec"), main.__dict__)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


def _finish(code: int) -> int:
    """What an interpreter does at its end: wait for threads, run exit functions, write out."""
    with contextlib.suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined]
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            code = code or 120
    return code


if __name__ == "__main__":
    faulthandler.enable()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109
    preload()
    Server(socket.socket(fileno=int(sys.argv[1]))).serve_for_ever()
