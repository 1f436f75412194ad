"""When the share of runs that fail has moved."""

from __future__ import annotations

import pytest

from teknav_ops.triage.proportions import ErrorRates


@pytest.mark.parametrize(
    ("failed_before", "failed_now", "has_moved"),
    [
        (10, 50, True),
        (10, 11, False),
        (500, 390, True),
        (500, 490, False),
        (800, 950, True),
        (950, 800, True),
        (990, 1_000, True),
        (990, 991, False),
        (0, 0, False),
        (1_000, 1_000, False),
    ],
)
def test_a_share_moves_by_what_fails_or_by_what_is_left(
    failed_before: int, failed_now: int, *, has_moved: bool
) -> None:
    rates = ErrorRates(failed_before * 5, 5_000, failed_now * 5, 5_000)
    assert rates.has_moved is has_moved
