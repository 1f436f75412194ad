"""Child processes: kept running, and stopped: asked first, made to afterwards."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from teknav_ops.parent_death import end_with_parent

_STOP_SECONDS: Final = 40.0
#: For workers to give back what they still run; else it would lie under its leases, and count as lost.
_HURRY_SECONDS: Final = 5.0
#: A child that dies sooner than this after its start is restarted more slowly each time.
_SETTLED_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 30.0


def stop_process(process: subprocess.Popen[bytes], grace_seconds: float, *, hurry_seconds: float = 0.0) -> None:
    """SIGTERM, and SIGKILL to its whole group when that does not help in time. The child leads its group.

    With `hurry_seconds` it is asked once more in between, and has so long again: workers then give back what they run.
    """
    if process.poll() is not None:
        return
    for seconds in filter(None, (grace_seconds, hurry_seconds)):
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class Child:
    """A process that is kept running; its output goes to a log file."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_seconds = 1.0
        self.restart_count = -1

    def keep_running(self) -> None:
        """Start it if it is not running, unless it died a moment ago."""
        if self._process is not None and self._process.poll() is None:
            return
        lived_seconds = time.monotonic() - self._started_at
        if self._process is not None and lived_seconds < self._pause_seconds:
            return
        is_settled = lived_seconds > _SETTLED_SECONDS
        self._pause_seconds = 1.0 if is_settled else min(_LONGEST_PAUSE_SECONDS, self._pause_seconds * 2)
        self._start()

    def _start(self) -> None:
        self.restart_count += 1
        self._started_at = time.monotonic()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )

    def stop(self) -> None:
        """SIGTERM, once more when that does not help in time, and at last SIGKILL to the whole group."""
        if self._process is not None:
            stop_process(self._process, _STOP_SECONDS, hurry_seconds=_HURRY_SECONDS)


def stop_in_order(children: Iterable[Child]) -> None:
    """One after the other; neighbours of the same name together."""
    for _, same in itertools.groupby(children, key=lambda child: child.name):
        with ThreadPoolExecutor() as pool:
            list(pool.map(Child.stop, same))
