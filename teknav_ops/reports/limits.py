"""What a report's last cell says: numbers for the summary, and limits that end the run when they are breached."""

from __future__ import annotations

import sys

from teknav_ops.errors import InvalidRequest


class LimitBreached(Exception):
    """A number lies beyond its limit; the message names it, its value and the limit. It ends a notebook, no request."""


def note(name: str, value: float, unit: str = "") -> None:
    """Show a number in the report's summary."""
    sys.stdout.write(f"{name}: {value:,g} {unit}".rstrip() + "\n")


def check(name: str, value: float, *, at_most: float | None = None, at_least: float | None = None) -> None:
    """Show a number, and end the run where it lies beyond its limit.

    Raises:
        LimitBreached: it does. InvalidRequest: there is no limit, or there are two.
    """
    if (at_most is None) == (at_least is None):
        raise InvalidRequest(f"{name}: give either at_most or at_least")
    note(name, value)
    if at_most is not None and value > at_most:
        raise LimitBreached(f"{name}: {value:,g} is more than {at_most:,g}")
    if at_least is not None and value < at_least:
        raise LimitBreached(f"{name}: {value:,g} is less than {at_least:,g}")
