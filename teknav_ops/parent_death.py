"""Processes that end with their parent: nobody watches a worker whose master was killed."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the parent dies (Linux; elsewhere nothing happens)."""
    if sys.platform != "linux":
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        # It died in between, and the signal will never come.
        os.kill(os.getpid(), signal.SIGTERM)


def end_when_parent_has() -> None:
    """Send this process SIGTERM when the one that started it has ended (Linux), unless it is to outlive it: as `nohup`
    says, or as the leader of a session of its own.

    It may be any program's child, also of a thread that does not last: for that, `end_with_parent` would take its end.
    """
    is_to_outlive = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN or os.getsid(0) == os.getpid()
    if sys.platform != "linux" or is_to_outlive:
        return
    try:
        parent = os.pidfd_open(os.getppid())
    except OSError:
        # It lies outside of this container, or the system is old.
        return
    threading.Thread(target=_tell_the_end, args=(parent,), daemon=True).start()


def _tell_the_end(process: int) -> None:
    ended = select.poll()
    ended.register(process, select.POLLIN)
    ended.poll()
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
