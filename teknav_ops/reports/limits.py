"""What a report's last cell says: numbers for the summary, and limits that end the run when they are breached."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, Final

from teknav_ops.errors import InvalidRequest

#: The type under which a number stands in a notebook's outputs, for the runner to find.
NUMBER_TYPE: Final = "application/vnd.teknav.number+json"
#: Above this, floats no longer tell neighbouring whole numbers apart.
_WHOLE_LIMIT: Final = 2.0**53


#: Breaches of the `together` block that is under way; None outside of one.
_breaches: Final[ContextVar[list[str] | None]] = ContextVar("breaches", default=None)


class LimitBreached(Exception):
    """A number lies beyond its limit; the message names it, its value and the limit. It ends a notebook, no request."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a stack: whoever reads it knows where it comes from."""
        return [f"{type(self).__name__}: {self}"]


def note(name: str, value: float, unit: str = "") -> None:
    """Show a number in the report's summary, and in the mails and posts that tell of the report."""
    _tell(name, value, unit)


def check(
    name: str, value: float, unit: str = "", *, at_most: float | None = None, at_least: float | None = None
) -> None:  # fmt: skip
    """Show a number, and end the run where it lies beyond its limit. One that is not known cannot be within it.
    Several numbers that shall all be shown stand in a block `with limits.together():`.

    In a notebook that somebody runs by hand, a box says so instead, and the run goes on.

    Raises:
        LimitBreached: it does. InvalidRequest: there is no limit, or there are two.
    """
    if (at_most is None) == (at_least is None):
        raise InvalidRequest(f"{name}: give either at_most or at_least")
    breach = _breach(float(value), at_most, at_least)
    _tell(name, value, unit, at_most=at_most, at_least=at_least, is_breached=bool(breach))
    if breach and not _show_box(f"{name}: {breach}"):
        _end(f"{name}: {breach}")


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Show all numbers of the block, and end the run behind it where any of them lies beyond its limit.

    Raises:
        LimitBreached: it names each breach.
    """
    found: list[str] = []
    before = _breaches.set(found)
    try:
        yield
    finally:
        _breaches.reset(before)
    if found:
        _end("; ".join(found))


def _end(words: str) -> None:
    told = _breaches.get()
    if told is not None:
        told.append(words)
        return
    raise LimitBreached(words)


def written(value: float | None) -> str:
    """A number for people: whole numbers whole, others with four digits."""
    if value is None or not math.isfinite(value):
        return "unknown"
    if value == int(value) and abs(value) < _WHOLE_LIMIT:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.4g}"


def _breach(value: float, at_most: float | None, at_least: float | None) -> str:
    limit = at_most if at_most is not None else at_least
    if not math.isfinite(value):
        return f"is not known, so it cannot be held against {written(limit)}"
    if at_most is not None and value > at_most:
        return f"{written(value)} is more than {written(at_most)}"
    if at_least is not None and value < at_least:
        return f"{written(value)} is less than {written(at_least)}"
    return ""


def _show_box(words: str) -> bool:
    """Say it to the person who watches; False where nobody does."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    # Who runs a notebook unattended cannot be asked anything, and says so with each cell.
    is_watched = getattr(getattr(shell, "kernel", None), "_allow_stdin", False)
    if shell is None or not is_watched or shell.user_ns.get("interactive") is False:
        return False
    from html import escape

    from IPython.display import display

    style = "border:1px solid #b3261e;border-left-width:6px;border-radius:4px;padding:8px 12px;max-width:60em"
    box = f'<div role="alert" dir="auto" style="{style}"><b>Limit breached</b><br>{escape(words)}</div>'
    display({"text/plain": f"Limit breached: {words}", "text/html": box}, raw=True)
    return True


def _tell(
    name: str, value: float, unit: str, *, at_most: float | None = None, at_least: float | None = None,
    is_breached: bool = False,
) -> None:  # fmt: skip
    number = float(value)
    text = f"{name}: {written(number)} {unit}".rstrip()
    # A notebook has loaded it already; elsewhere it may not be installed.
    ipython: Any = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        sys.stdout.write(text + "\n")
        return
    from IPython.display import display

    fact = {
        "name": name, "value": number if math.isfinite(number) else None, "unit": unit, "is_breached": is_breached,
        "at_most": None if at_most is None else float(at_most),
        "at_least": None if at_least is None else float(at_least),
    }  # fmt: skip
    display({"text/plain": text, NUMBER_TYPE: fact}, raw=True)
