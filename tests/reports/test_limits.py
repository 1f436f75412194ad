"""What the last cell says of several numbers, beyond their limits or within."""

from __future__ import annotations

import pytest

from teknav_ops.reports import limits
from teknav_ops.reports.limits import LimitBreached


def test_together_all_numbers_are_shown_and_each_breach_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(LimitBreached) as ended, limits.together():
        limits.check("dead letters", 12, "jobs", at_most=10)
        limits.check("jobs", 5, at_least=1)
        limits.check("error rate", float("nan"), at_most=0.2)
        limits.note("last", 1)

    assert str(ended.value) == (
        "dead letters: 12 is more than 10; error rate: is not known, so it cannot be held against 0.2"
    )
    shown = ["dead letters: 12 jobs", "jobs: 5", "error rate: unknown", "last: 1"]
    assert capsys.readouterr().out.splitlines() == shown


def test_behind_the_block_and_without_one_the_first_breach_ends_the_run() -> None:
    with limits.together():
        limits.check("jobs", 5, at_most=5)
    with pytest.raises(LimitBreached, match=r"^jobs: 6 is more than 5$"):
        limits.check("jobs", 6, at_most=5)


def test_what_fails_within_the_block_is_what_is_told() -> None:
    with pytest.raises(ZeroDivisionError), limits.together():
        limits.check("jobs", 6, at_most=5)
        _ = 1 / 0
    with pytest.raises(LimitBreached):
        limits.check("jobs", 6, at_most=5)
