"""Pauses that servers ask for: numbers, dates, and nonsense."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from teknav_ops.outbound.retry_after import retry_after_seconds


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), (" 1.5 ", 1.5), ("0", 0.0), ("-5", 0.0), ("86400", 3_600.0), ("9" * 300, 3_600.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Mon, 01 Jan 9999 00:00:00 GMT", 3_600.0),
        (None, None), ("", None), ("soon", None), ("²", None), ("nan", None), ("inf", None), ("1e999", None),
        ("Mon, 99 Jan 2026 00:00:00 GMT", None), ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 2026 00:00:00 -0000", None),
    ],
)  # fmt: skip
def test_a_pause_is_a_number_or_a_date_that_makes_sense(value: str | None, seconds: float | None) -> None:
    assert retry_after_seconds(value) == seconds


def test_a_date_is_counted_from_now() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 80 < (retry_after_seconds(later) or 0) <= 90
