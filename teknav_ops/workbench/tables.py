"""Tables for people: times to the second in UTC, numbers with separators, nothing where nothing is known."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.jobs.sketch import of_few
from teknav_ops.one_line import with_seen_overrides

if TYPE_CHECKING:
    import pandas

_NOTHING: Final = "–"
#: Below it, a number is shown with four digits; above it, whole.
_WHOLE_FROM: Final = 1_000
_TEXT_CHARACTERS: Final = 160
#: What is smaller says nothing to a person.
_LEAST: Final = 0.0005
#: Columns that are parts of a whole.
_SHARES: Final = frozenset({"success_share", "objective", "budget_used", "utilisation", "error_rate"})
#: Jobs per second.
_RATES: Final = {
    "rate": "rate (jobs/s)",
    "completed_rate": "completed (jobs/s)",
    "failed_rate": "given up (jobs/s)",
}
#: `p95_ms`, `p99_duration_ms`, `p95_failed_duration_ms`; and the column that says of how many runs, the first there is.
_PERCENTILE: Final = re.compile(r"p\d\d_(failed_)?(duration_)?ms")
_RUNS_OF: Final[dict[str | None, tuple[str, ...]]] = {None: ("n", "runs"), "failed_": ("failed_runs",)}


@dataclasses.dataclass(frozen=True)
class Table:
    """What `bench.table` answers: Jupyter shows it as HTML, a terminal as text. At most `limit` rows are shown.

    A percentile of few runs says of how many, which are looked for in `whole`: its rows with the columns that are not
    shown, too.
    """

    frame: pandas.DataFrame
    limit: int = 100
    empty: str = "Nothing in this window."
    whole: pandas.DataFrame | None = None

    def _repr_html_(self) -> str:
        if self.frame.empty:
            return f"<p>{escape(self.empty)}</p>"
        names = [str(name) for name in self.frame.columns]
        sides = [_side(self.frame[name]) for name in self.frame.columns]
        head = "".join(
            f'<th scope="col" style="text-align:{side}">{escape(_heading(str(name), self.frame[name]))}</th>'
            for name, side in zip(self.frame.columns, sides, strict=True)
        )
        rows = "".join(f"<tr>{''.join(map(_cell, names, sides, *row))}</tr>" for row in self._rows())
        table = f'<table class="dataframe"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        return f'<div style="overflow-x:auto">{table}</div>{self._rest()}'

    def __repr__(self) -> str:
        if self.frame.empty:
            return self.empty
        shown = self.frame.head(self.limit)
        told = {
            name: [f"{value:.6g}{few}" if few else value for value, few in zip(shown[name], after, strict=True)]
            for name, after in self._few().items()
        }
        return str(shown.assign(**told).to_string(index=False))

    def _rows(self) -> list[tuple[tuple[Any, ...], tuple[str, ...]]]:
        """Per row its values, and what follows each."""
        shown, few = self.frame.head(self.limit), self._few()
        nothing = [""] * len(shown)
        after = zip(*(few.get(str(name), nothing) for name in shown.columns), strict=True)
        return list(zip(shown.itertuples(index=False, name=None), after, strict=True))

    def _few(self) -> dict[str, list[str]]:
        """What follows the values of each column of percentiles."""
        import pandas as pd

        whole = (self.frame if self.whole is None else self.whole).head(self.limit)
        found = {}
        for match in filter(None, (_PERCENTILE.fullmatch(str(name)) for name in self.frame.columns)):
            runs = next((whole[name] for name in _RUNS_OF[match[1]] if name in whole.columns), None)
            if runs is not None:
                counts = pd.to_numeric(runs, errors="coerce").where(whole[match[0]].notna()).fillna(0)
                found[match[0]] = [of_few(count) for count in counts]
        return found

    def _rest(self) -> str:
        more = len(self.frame) - self.limit
        return f"<p>{more:,} more rows are not shown.</p>" if more > 0 else ""


def cell_text(name: str, value: Any) -> str:
    """One value in words; `name` is its column's, which says its unit."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or str(value) in ("NaT", "<NA>"):
        return _NOTHING
    # numpy's truth values are no bool of Python's.
    if type(value).__name__ in ("bool", "bool_"):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        is_day = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return f"{value:%Y-%m-%d}" if is_day else f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    if isinstance(value, numbers.Real):
        return f"{float(value):.1%}" if name in _SHARES else number_text(float(value))
    text = with_seen_overrides(str(value))
    return text if len(text) <= _TEXT_CHARACTERS else f"{text[: _TEXT_CHARACTERS - 1]}…"


def number_text(value: float) -> str:
    """A number: whole from a thousand on, else with four digits at most."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= _WHOLE_FROM or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= _LEAST else "≈ 0"


def _side(column: pandas.Series) -> str:
    """Numbers stand to the right, also where some are not known; what is not known of a text does not."""
    if column.dtype.kind in "iuf":
        return "right"
    known = column.dropna()
    are_numbers = len(known) > 0 and all(
        isinstance(value, numbers.Number) and not isinstance(value, bool) for value in known
    )
    return "right" if are_numbers else "start"


def _heading(text: str, column: pandas.Series) -> str:
    """`duration_ms` is `duration (ms)`: words for people, the unit apart."""
    if text in _RATES:
        return _RATES[text]
    for ending, unit in (("_ms", "ms"), ("_seconds", "s"), ("_usd", "USD")):
        if text.endswith(ending):
            return f"{text.removesuffix(ending).replace('_', ' ')} ({unit})"
    is_time = str(column.dtype).startswith("datetime64")
    return f"{text.replace('_', ' ')} (UTC)" if is_time else text.replace("_", " ")


def _cell(name: str, side: str, value: Any, after: str) -> str:
    way = f' style="text-align:{side}"' if side == "right" else ' style="text-align:start" dir="auto"'
    way = ' style="white-space:nowrap"' if isinstance(value, datetime) else way
    text = escape(cell_text(name, value) + after)
    if name == "page":
        text = f'<a href="{escape(str(value))}" target="_blank" rel="noopener">open</a>'
    return f"<td{way}>{text}</td>"
