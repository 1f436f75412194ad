"""A stand-in for the Python executable: `-m MODULE …` is forked from the warm process, as is `-u -c CODE`, with which
test processes start; all else is the real Python.

What a test starts may itself start Python programs (a notebook its kernel, a report its own process). Given this as
its `sys.executable`, it gets for each a process of its own that starts in milliseconds: this one waits for the fork,
passes signals on to it, exits as it does, and takes it along when it ends itself or its parent is gone.
"""

import array
import json
import os
import select
import signal
import socket
import sys

_PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def main(address: str, python: str, arguments: list[str]) -> None:
    """Be the program. `address` is where the warm process listens, `python` the real executable."""
    if arguments[:2] == ["-u", "-c"]:
        # Who starts so writes out itself what others wait for.
        arguments = arguments[1:]
    elif arguments[:1] != ["-m"]:
        os.execv(python, [python, *arguments])
    parent = os.pidfd_open(os.getppid())
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    _ask(connection, arguments)
    # Python writes the number of each signal here: that is how they are passed on.
    connection.setblocking(False)
    signal.set_wakeup_fd(connection.fileno())
    for number in _PASSED_ON:
        signal.signal(number, lambda *_: None)
    _exit_like(_wait(connection, parent))


def _ask(connection: socket.socket, arguments: list[str]) -> None:
    request = {
        "arguments": arguments,
        "cwd": os.getcwd(),  # noqa: PTH109
        "environment": dict(os.environ),
        "new_session": True,
        "umask": _umask(),
        "tied_to": os.getppid(),
    }
    body = json.dumps(request).encode()
    files = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
    connection.sendmsg([len(body).to_bytes(4, "big")], files)
    connection.sendall(body)


def _umask() -> int:
    """The mask for new files, which a program inherits; to read it is to set it."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def _wait(connection: socket.socket, parent: int) -> int:
    """The fork's exit status: less than 0 is the signal that ended it."""
    answers = b""
    while True:
        readable, _, _ = select.select([connection, parent], [], [])
        if parent in readable:
            return -signal.SIGKILL
        piece = connection.recv(4096)
        answers += piece
        lines = answers.split(b"\n")
        for line in lines[:-1]:
            answer = json.loads(line)
            if "status" in answer:
                return int(answer["status"])
        if not piece:
            return -signal.SIGKILL


def _exit_like(status: int) -> None:
    if status < 0:
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
