"""Spans and moments as people write them: `90s`, `6h`, `2d`, `2026-11-24T10:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from numbers import Real
from typing import Final

from teknav_ops.errors import InvalidRequest

_LONGEST_ASKED_FOR: Final = timedelta(days=400)
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_span(text: str, *, name: str) -> timedelta:
    """`90`, `90s`, `5m`, `2h` or `1d` as a timedelta. Raises InvalidRequest, which names the field."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise InvalidRequest(f"{name}: {text!r} is not a span such as 30s, 5m, 2h or 1d")
    try:
        return timedelta(**{_UNITS[match[2] or "s"]: float(match[1])})
    except OverflowError:
        raise InvalidRequest(f"{name}: {text!r} is longer than anything here lasts") from None


def span_of(name: str, value: float, *, most: timedelta = _LONGEST_ASKED_FOR) -> timedelta:
    """A number as a timedelta, in the unit with which its name ends (`baseline_hours`). Raises InvalidRequest."""
    unit = timedelta(**{name.rpartition("_")[2]: 1})
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not 0 < float(value) <= most / unit:
        raise InvalidRequest(f"{name}: {value!r:.60} is not a number between 0 and {most / unit:,.0f}")
    return float(value) * unit


def parse_moment(text: str | None, *, name: str) -> datetime | None:
    """An ISO time (local unless it names a zone) or a span ago. Raises InvalidRequest."""
    if text is None:
        return None
    if re.fullmatch(r"[\d.]+[smhd]", text.strip()):
        try:
            return datetime.now(UTC) - parse_span(text, name=name)
        except OverflowError:
            raise InvalidRequest(f"{name}: {text!r} is before all time") from None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(f"{name}: {text!r} is neither an ISO time nor a span such as 6h") from None
