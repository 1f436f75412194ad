"""Names and titles."""

from __future__ import annotations

import pytest

from teknav_ops.one_line import is_one_line


@pytest.mark.parametrize("text", ["", "Outage of Monday", "پروندهٔ گم‌شده", "می‌شود \u200f(SMTP)"])
def test_persian_with_half_spaces_and_marks_is_one_line(text: str) -> None:
    assert is_one_line(text)


@pytest.mark.parametrize("text", ["two\nlines", "bell\a", "null\0", "para\u2029graph", "lone \ud800"])
def test_what_breaks_or_hides_a_line_is_not(text: str) -> None:
    assert not is_one_line(text)
