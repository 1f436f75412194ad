"""Calls that must not hang: a database that neither answers nor hangs up is away all the same."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from teknav_ops.errors import StorageUnavailable

T = TypeVar("T")


class BoundedCalls:
    """Runs one call at a time in a thread of its own, and waits so long and no longer.

    A call that is given up goes on; what it writes must be safe to write late, and twice.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._thread: threading.Thread | None = None

    def run(self, call: Callable[[], T]) -> T:
        """The call's answer, or its exception.

        Raises:
            StorageUnavailable: it took too long, or an earlier one still hangs.
        """
        if self._thread is not None and self._thread.is_alive():
            raise StorageUnavailable("the database has not answered an earlier question yet")
        answers: queue.SimpleQueue[tuple[bool, T | BaseException]] = queue.SimpleQueue()
        # A daemon: a process that is told to end does not wait for a database that is gone.
        self._thread = threading.Thread(target=_put_outcome, args=(call, answers), name="alerts-sql", daemon=True)
        self._thread.start()
        try:
            is_answer, outcome = answers.get(timeout=self._seconds)
        except queue.Empty:
            raise StorageUnavailable(f"the database did not answer within {self._seconds:g} s") from None
        # The thread has nothing left to do but end.
        self._thread.join()
        if not is_answer:
            assert isinstance(outcome, BaseException)
            raise outcome
        return outcome  # type: ignore[return-value]


def _put_outcome(call: Callable[[], T], answers: queue.SimpleQueue[tuple[bool, T | BaseException]]) -> None:
    try:
        answers.put((True, call()))
    except BaseException as error:
        answers.put((False, error))
