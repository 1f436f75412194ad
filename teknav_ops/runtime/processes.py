"""Stopping a child process: asked first, made to afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess


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
