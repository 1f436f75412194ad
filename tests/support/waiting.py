"""Waiting for something to become true, with a deadline; never a fixed sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

#: How long one answer of a server may take on a starved machine; nothing is measured by it.
ANSWER_SECONDS: Final = 120.0
#: Between two looks: short at first, and longer the longer it takes, so that waiting costs little.
_SHORTEST_PAUSE_SECONDS: Final = 0.01
_LONGEST_PAUSE_SECONDS: Final = 0.05


def until(condition: Callable[[], T], *, seconds: float = 45.0, what: str = "the condition") -> T:
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"{what} did not come true within {seconds:g} s")
        time.sleep(min(max(_SHORTEST_PAUSE_SECONDS, waited / 10), _LONGEST_PAUSE_SECONDS))
