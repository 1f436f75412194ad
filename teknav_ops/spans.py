"""Spans and moments as people write them: `90s`, `6h`, `2d`, `2026-11-24T10:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from teknav_ops.errors import InvalidRequest

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
