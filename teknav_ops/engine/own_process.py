"""Starting a worker process anew in its own place, when a thread of it cannot be ended.

Dramatiq's master ends all its workers when one of them exits, and each of those first finishes what it runs. So the
process does not exit: it executes Python again under its own process id, which ends every thread, also one that waits
in C, and goes on as the same worker. The master sees nothing of it.

Only a thread can do that which gets to run. Where one holds the interpreter's lock for ever, none does: then a watchdog
in C writes all stacks to stderr and ends the process, the master ends the others when they have finished, and who
supervises it (`teknav up`, systemd, a container's restart policy) starts it again.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import re
import signal
import stat
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

_STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)


class OwnProcess:
    """This worker process, as Dramatiq's command line started it. To be made in its main thread at its boot."""

    def __init__(self) -> None:
        # By these Dramatiq's master knows whether the process lives, and reads its log.
        self._pipes = [number for number in _open_files() if stat.S_ISFIFO(os.fstat(number).st_mode)]
        #: It was told to stop.
        self.is_stopping = False
        for number in _STOPPING:
            signal.signal(number, self._noticing(signal.getsignal(number)))

    def _noticing(self, handler: Any) -> Callable[[int, Any], None]:
        def notice(number: int, frame: Any) -> None:
            self.is_stopping = True
            if callable(handler):
                handler(number, frame)

        return notice

    def expect_word_within(self, seconds: float) -> None:
        """End the process, with all stacks on stderr, unless this is called again in time."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=2)

    def expect_no_word(self) -> None:
        """Take `expect_word_within` back."""
        faulthandler.cancel_dump_traceback_later()

    def start_anew(self) -> None:
        """Become a new worker process of the same id. Does nothing when this one was told to stop."""
        if self.is_stopping:
            return
        for number in self._pipes:
            os.set_inheritable(number, True)
        log = sys.stderr.fileno()
        command = [sys.executable, "-m", "teknav_ops.engine.own_process", str(_worker_number()), str(log)]
        os.execv(sys.executable, [*command, *sys.argv[1:]])


def _open_files() -> list[int]:
    # That of the listing itself is closed by then.
    return [number for number in map(int, os.listdir("/dev/fd")) if _is_open(number)]  # noqa: PTH208


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _worker_number() -> int:
    """Which of its master's workers this is, from 0; it stands in log lines."""
    digits = re.search(r"\d+$", multiprocessing.current_process().name)
    return int(digits.group()) - 1 if digits else 0


def main() -> None:
    """Go on as the worker that this process was."""
    from dramatiq.canteen import Canteen
    from dramatiq.cli import make_argument_parser, worker_process
    from dramatiq.compat import StreamablePipe

    number, log, *arguments = sys.argv[1:]
    multiprocessing.current_process().name = f"Process-{int(number) + 1}"
    sys.argv = ["dramatiq", *arguments]
    args = make_argument_parser().parse_args(arguments)  # type: ignore[no-untyped-call]
    # As Dramatiq's main does; `-m` has put the working directory there, which is its default.
    sys.path[:0] = [str(Path(path)) for path in args.path]
    pipe = StreamablePipe(Connection(int(log), readable=False))  # type: ignore[no-untyped-call]
    canteen, booted = multiprocessing.Value(Canteen), multiprocessing.Event()
    worker_process(args, int(number), pipe, canteen, booted)  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
