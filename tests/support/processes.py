"""Looking at processes that may end while they are looked at."""

from __future__ import annotations

import contextlib

import psutil


def command_of(process: psutil.Process) -> str:
    """Its command line; nothing of a process that has ended, also where nobody has waited for it yet."""
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def children_of(pid: int, *, recursive: bool = True) -> list[psutil.Process]:
    """All processes below one, or those that it has started itself; none where it has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=recursive)
    return []


def kill_all(processes: list[psutil.Process]) -> None:
    """SIGKILL to each that still is."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
