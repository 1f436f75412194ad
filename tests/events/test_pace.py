"""How often something may be said."""

from __future__ import annotations

import pytest

from teknav_ops.events.pace import Pace


def test_a_burst_then_a_rate() -> None:
    pace = Pace(10)
    assert pace.left(100.0) == 10 and pace.wait_seconds(100.0) == 0
    pace.take(10)

    assert pace.left(100.0) == 0
    assert pace.wait_seconds(100.0) == pytest.approx(0.1)
    assert pace.left(100.5) == pytest.approx(5)
    assert pace.left(1_000.0) == 10


def test_what_was_said_too_much_is_waited_for() -> None:
    pace = Pace(2)
    pace.take(3)
    assert pace.wait_seconds(0.0) == pytest.approx(1.0)
    assert pace.wait_seconds(1.0) == 0

    pace.take(1_000)
    assert pace.wait_seconds(1.0) == pytest.approx(1.5)


def test_less_than_one_a_second_still_says_one() -> None:
    pace = Pace(0.5)
    assert pace.wait_seconds(0.0) == 0
    pace.take(1)
    assert pace.wait_seconds(0.0) == pytest.approx(2.0)
