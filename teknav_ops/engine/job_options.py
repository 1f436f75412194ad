"""What a producer may say of a job beside its payload: key, delay, priority, trace. One rule for every producer.

Each check raises InvalidRequest that begins with the option's name; nothing has been written then.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.one_line import is_one_line
from teknav_ops.payloads.exact import given

PRIORITIES: Final = range(-9, 10)
DELAY_LIMIT: Final = timedelta(days=366)
KEY_LIMIT_CHARACTERS: Final = 200
_TRACE_ID: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")


def checked_key(key: Any, *, name: str = "idempotency_key") -> str:
    """An idempotency key; '' for none. HTTP strips the spaces around a header, so none may stand there."""
    if key is None:
        return ""
    key = given(key, name)
    if type(key) is not str or not 1 <= len(key) <= KEY_LIMIT_CHARACTERS:
        raise InvalidRequest(f"{name}: must be 1 to {KEY_LIMIT_CHARACTERS} characters of text")
    if key != key.strip() or not is_one_line(key):
        raise InvalidRequest(f"{name}: must be one line without control characters, and no space before or after it")
    return key


def delay_ms(delay: Any, *, name: str = "delay") -> int:
    """A delay, given as a timedelta or in seconds, in whole milliseconds; none is 0."""
    if delay is None:
        return 0
    is_span = issubclass(type(delay), timedelta)
    seconds: float = timedelta.total_seconds(delay) if is_span else given(delay, name)
    if type(seconds) not in (int, float):
        raise InvalidRequest(f"{name}: must be a timedelta or a number of seconds")
    # NaN is between no two numbers.
    if not 0 <= seconds <= DELAY_LIMIT.total_seconds():
        raise InvalidRequest(f"{name}: is not between 0 and {DELAY_LIMIT.days} days")
    return round(seconds * 1000)


def checked_priority(priority: Any) -> int:
    """A priority: a whole number, and True is none."""
    # Of an enumeration, too: what is stored is the number.
    number: Any = given(priority, "priority")
    if type(number) is not int:
        raise InvalidRequest(f"priority: must be a whole number, not {type(priority).__name__}")
    if number not in PRIORITIES:
        shown = number if abs(number) < 10_000 else "that"
        raise InvalidRequest(f"priority: {shown} is not between {PRIORITIES[0]} (first) and {PRIORITIES[-1]} (last)")
    return int(number)


def checked_trace_id(trace_id: Any) -> str | None:
    """A W3C trace id; None for none."""
    trace_id = given(trace_id, "trace_id")
    if trace_id is not None and not (type(trace_id) is str and _TRACE_ID.fullmatch(trace_id)):
        raise InvalidRequest("trace_id: must be 32 lower-case hex digits, not all of them 0 (W3C trace context)")
    return trace_id


def milliseconds(delay: int | None) -> int:
    """Dramatiq counts in milliseconds."""
    if delay is None:
        return 0
    number = given(delay, "delay")
    if type(number) not in (int, float):
        raise InvalidRequest(f"delay: must be a number of milliseconds, not {type(delay).__name__}")
    return delay_ms(number / 1000 if abs(number) < 2**63 else math.inf)


def checked_list(values: Iterable[Any], name: str) -> list[Any]:
    """One for each job. Raises InvalidRequest for what is one thing, such as a text, whose letters are no list, and
    for a set, whose order is one of chance.
    """
    if isinstance(values, str | bytes | Mapping | set | frozenset) or not isinstance(values, Iterable):
        raise InvalidRequest(f"{name}: must be a list with one for each job, not {type(values).__name__}")
    return list(values)


def check_message_options(options: Mapping[str, Any]) -> None:
    """What a message of Dramatiq's may say beside its payload, where another kind of value would be passed over.

    Raises:
        InvalidRequest: that begins with the option's name.
    """
    if options.get("eta") is not None:
        # Dramatiq's worker would put it back by itself, and take it for done.
        raise InvalidRequest("eta: give delay, in milliseconds")
    for name in ("time_limit", "min_backoff", "max_backoff"):
        if name in options:
            _check_number(options[name], name, least=1)
    if options.get("max_retries") is not None:
        _check_number(options["max_retries"], "max_retries", least=0)
    for name in ("throws", "retry_when"):
        if options.get(name) is not None:
            raise InvalidRequest(f"{name}: can be an option of the actor only; a message is stored as JSON")


def _check_number(value: Any, name: str, *, least: int) -> None:
    number = given(value, name)
    if type(number) is not int or not least <= number < 2**31:
        raise InvalidRequest(f"{name}: must be a whole number from {least} to {2**31 - 1:,}")
