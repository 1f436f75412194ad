"""How much the tests of chance play: small numbers in `make test`, large ones in `make soak`."""

from __future__ import annotations

import os


def scaled(number: int) -> int:
    """So many, times `TEKNAV_TEST_SCALE` (an integer, 1 unless set)."""
    return number * int(os.environ.get("TEKNAV_TEST_SCALE", "1"))
