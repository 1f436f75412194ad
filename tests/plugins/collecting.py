"""Finding the tests, which each test process does for itself, at little cost.

Libraries are imported already: test processes are forked from the warm one. In a fresh clone the modules of the tests
have to be compiled first. One process does it for all: the others find what it has written, instead of compiling the
same files at the same time.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support import warm_python
from tests.support.folders import RUN_FOLDER_VARIABLE
from tests.support.waiting import ANSWER_SECONDS, until

#: Made in the run's folder by the process that finds the tests first.
_FOUND: Final = "tests-found"
#: Objects that are made between two collections of garbage; most of what tests make is gone by itself.
_THRESHOLDS: Final = (20_000, 20, 50)


def pytest_xdist_setupnodes(specs: Sequence[Any]) -> None:
    for spec in specs:
        spec.python = warm_python.executable()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    found = Path(os.environ[RUN_FOLDER_VARIABLE], _FOUND)
    if os.environ.get("PYTEST_XDIST_WORKER", "gw0") != "gw0":
        # Should that process have died, each compiles for itself.
        with contextlib.suppress(AssertionError):
            until(found.exists, seconds=ANSWER_SECONDS)
    # What is made here stays to the end: nothing is there to collect.
    gc.disable()
    try:
        return (yield)
    finally:
        found.touch()
        gc.enable()
        gc.collect()
        # A million objects: whoever collects garbage from here on need not look at them.
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
