"""Waiting for something to become true, with a deadline; never a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: How long one answer of a server may take on a starved machine; nothing is measured by it.
ANSWER_SECONDS: Final = 120.0


def until(condition: Callable[[], T], *, seconds: float = 45.0, what: str = "the condition") -> T:
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        time.sleep(0.01)
