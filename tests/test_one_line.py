"""Names and titles."""

from __future__ import annotations

import pytest

from teknav_ops.one_line import for_terminal, is_one_line


@pytest.mark.parametrize("text", ["", "Outage of Monday", "پروندهٔ گم‌شده", "می‌شود \u200f(SMTP)"])
def test_persian_with_half_spaces_and_marks_is_one_line(text: str) -> None:
    assert is_one_line(text)


@pytest.mark.parametrize("text", ["two\nlines", "bell\a", "null\0", "para\u2029graph", "lone \ud800"])
def test_what_breaks_or_hides_a_line_is_not(text: str) -> None:
    assert not is_one_line(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jgone", r"\u001b[2Jgone"),
        ("\x9b2J", r"\u009b2J"),
        ("\x1b]0;title\a", r"\u001b]0;title\u0007"),
        ("seen\rhidden", r"seen\u000dhidden"),
        ("\b\x7f", r"\u0008\u007f"),
        ("\u202eabc", r"\u202eabc"),
        ("two\n\tlines", "two\n\tlines"),
        ("می‌شود \u200f", "می‌شود \u200f"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert for_terminal(text) == shown
