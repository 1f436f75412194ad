"""Values of classes of somebody's own, as Python's own: such classes may do anything when they are compared or read.

An `IntEnum` is a number and a `StrEnum` is text. One that fails when it is read is refused by whoever reads it first;
of the others only what Python's own classes make of them is kept, so that nothing of theirs runs afterwards.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import SecretStr

from teknav_ops.errors import InvalidRequest

#: Types that do what Python says.
OWN: Final = frozenset({str, int, float, bool, type(None), dict, list, tuple})


def exact(value: Any) -> Any:
    """Text or a number as what it is in Python itself; anything else as it is. Raises what its class raises."""
    kind = type(value)
    if kind in OWN:
        return value
    for base, read in ((str, str.__str__), (int, int.__int__), (float, float.__float__)):
        if issubclass(kind, base):
            found = read(value)
            _try_out(value, found)
            return found
    return value


def _try_out(value: Any, found: Any) -> None:
    """What others do with text and numbers."""
    _ = str(value), repr(value), f"{value}", hash(value), bool(value)
    _ = value == found, found == value, value < found, found < value
    _ = len(value) if isinstance(value, str) else (abs(value), float(value))
    _ = value.__index__() if isinstance(value, int) else None


def given(value: Any, field: str) -> Any:
    """What somebody gave, exact. Raises InvalidRequest that names the field."""
    try:
        return exact(value)
    except Exception as error:
        problem = f"cannot be read: {type(error).__name__}; give plain text or a plain number"
        raise InvalidRequest(f"{field}: {problem}") from None


def exact_within(value: Any) -> Any:
    """Plain data (`plain.check` has looked at it) with each part exact."""
    kind = type(value)
    if issubclass(kind, dict):
        return {exact(name): exact_within(inner) for name, inner in value.items()}
    if issubclass(kind, list):
        return [exact_within(inner) for inner in value]
    if issubclass(kind, tuple):
        return tuple([exact_within(inner) for inner in value])
    return SecretStr(exact(value.get_secret_value())) if issubclass(kind, SecretStr) else exact(value)
