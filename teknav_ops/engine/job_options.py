"""What a producer may say of a job beside its payload: key, delay, priority, trace. One rule for every producer.

Each check raises InvalidRequest that begins with the option's name; nothing has been written then.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.one_line import is_one_line

PRIORITIES: Final = range(-9, 10)
DELAY_LIMIT: Final = timedelta(days=366)
KEY_LIMIT_CHARACTERS: Final = 200
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


def checked_key(key: Any) -> str:
    """An idempotency key; '' for none. HTTP strips the spaces around a header, so none may stand there."""
    if key is None:
        return ""
    if not isinstance(key, str) or not 1 <= len(key) <= KEY_LIMIT_CHARACTERS:
        raise InvalidRequest(f"idempotency_key: must be 1 to {KEY_LIMIT_CHARACTERS} characters of text")
    if key != key.strip() or not is_one_line(key):
        raise InvalidRequest(
            "idempotency_key: must be one line without control characters, and no space before or after it"
        )
    return key


def delay_ms(delay: Any, *, name: str = "delay") -> int:
    """A delay, given as a timedelta or in seconds, in whole milliseconds; none is 0."""
    if delay is None:
        return 0
    if isinstance(delay, timedelta):
        delay = delay.total_seconds()
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise InvalidRequest(f"{name}: must be a timedelta or a number of seconds")
    # NaN is between no two numbers.
    if not 0 <= delay <= DELAY_LIMIT.total_seconds():
        raise InvalidRequest(f"{name}: is not between 0 and {DELAY_LIMIT.days} days")
    return round(delay * 1000)


def checked_priority(priority: Any) -> int:
    """A priority: a whole number, and True is none."""
    if isinstance(priority, bool) or not isinstance(priority, int):
        raise InvalidRequest(f"priority: must be a whole number, not {type(priority).__name__}")
    if priority not in PRIORITIES:
        shown = priority if abs(priority) < 10_000 else "that"
        raise InvalidRequest(f"priority: {shown} is not between {PRIORITIES[0]} (first) and {PRIORITIES[-1]} (last)")
    # Of an enumeration, too: what is stored is the number.
    return int(priority)


def checked_trace_id(trace_id: Any) -> str | None:
    """A W3C trace id; None for none."""
    if trace_id is not None and not (isinstance(trace_id, str) and _TRACE_ID.fullmatch(trace_id)):
        raise InvalidRequest("trace_id: must be 32 lower-case hex digits, not all of them 0 (W3C trace context)")
    return trace_id


def milliseconds(delay: int | None) -> int:
    """Dramatiq counts in milliseconds."""
    if delay is None:
        return 0
    if isinstance(delay, bool) or not isinstance(delay, int | float):
        raise InvalidRequest(f"delay: must be a number of milliseconds, not {type(delay).__name__}")
    return delay_ms(delay / 1000 if abs(delay) < 2**63 else math.inf)
