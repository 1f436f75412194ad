"""Spans and moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.spans import parse_moment, parse_span


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("2h", 7_200), ("1d", 86_400)])
def test_a_span_has_a_unit_or_is_in_seconds(text: str, seconds: float) -> None:
    assert parse_span(text, name="delay") == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "soon", "5x", "-3m", "9" * 30 + "d"])
def test_what_is_no_span_is_refused_by_the_field_s_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^delay: "):
        parse_span(text, name="delay")


def test_a_moment_is_a_time_or_a_span_ago() -> None:
    assert parse_moment("2026-11-24T10:00+03:30", name="since") == datetime(2026, 11, 24, 6, 30, tzinfo=UTC)
    assert parse_moment(None, name="since") is None
    ago = parse_moment("6h", name="since")
    assert ago is not None and abs(datetime.now(UTC) - ago - timedelta(hours=6)) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "999999d"])
def test_what_is_no_moment_is_refused_by_the_field_s_name(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^since: "):
        parse_moment(text, name="since")
