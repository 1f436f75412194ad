"""Charts in words: what a screen reader says of one, and its values as a table, also on paper."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import datetime
from html import escape
from typing import Any, Final

#: Values of one series that the table holds; of more, the newest.
_ROWS: Final = 100


def chart_label(figure: Mapping[str, Any]) -> str:
    """One sentence per series, after the title: how many values, from which to which, the least and the most."""
    title = figure.get("layout", {}).get("title") or {}
    parts = [_plain(title if isinstance(title, str) else title.get("text") or "Chart")]
    for name, points in _series(figure):
        numbers = [value for _, value in points if isinstance(value, int | float)]
        span = f", from {_shown(points[0][0])} to {_shown(points[-1][0])}" if points else ""
        extent = f": between {_shown(min(numbers))} and {_shown(max(numbers))}" if numbers else ""
        parts.append(f"{name}, {len(points):,} {'value' if len(points) == 1 else 'values'}{span}{extent}")
    return ". ".join(parts)


def chart_table(figure: Mapping[str, Any]) -> str:
    """The values, folded away; nothing where there are none."""
    tables = "".join(_table(name, points) for name, points in _series(figure) if points)
    return f'<details class="values"><summary>Values of the chart</summary>{tables}</details>' if tables else ""


def _table(name: str, points: list[tuple[Any, Any]]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(_shown(at))}</th><td>{escape(_shown(value))}</td></tr>'
        for at, value in points[-_ROWS:]
    )
    more = f", the last {_ROWS} of {len(points):,}" if len(points) > _ROWS else ""
    return f'<table><caption dir="auto">{escape(name)}{more}</caption><tbody>{rows}</tbody></table>'


def _series(figure: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[Any, Any]]]]:
    for number, trace in enumerate(figure.get("data", ()), start=1):
        name = _plain(str(trace.get("name") or f"series {number}"))
        if trace.get("type") == "table":
            heads = _values(trace.get("header", {}).get("values"))
            for head, cells in zip(heads, _values(trace.get("cells", {}).get("values")), strict=False):
                yield _plain(_shown(head)), list(enumerate(_values(cells), start=1))
        elif "z" in trace:
            rows = _values(trace["z"])
            for up, row in zip(_values(trace.get("y")) or range(len(rows)), rows, strict=False):
                yield f"{name}, {_shown(up)}", _pairs(_values(trace.get("x")), _values(row))
        else:
            yield name, _points(trace)


def _points(trace: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    across, up = _values(trace.get("x", trace.get("labels"))), _values(trace.get("y", trace.get("values")))
    # Of what has one axis only, such as a histogram, that holds the values.
    across, up = (up, across) if trace.get("orientation") == "h" or not up else (across, up)
    return _pairs(across, up)


def _pairs(at: list[Any], values: list[Any]) -> list[tuple[Any, Any]]:
    """Values with their places, which are counted where they have no names."""
    return list(zip(at or range(len(values)), values, strict=False))


def _values(column: Any) -> list[Any]:
    """A column of a figure: a list, or the numbers that Plotly packs into base64."""
    if isinstance(column, Mapping) and "bdata" in column:
        import numpy as np

        flat = np.frombuffer(base64.b64decode(column["bdata"]), dtype=column["dtype"])
        shape = [int(length) for length in str(column.get("shape", flat.size)).split(",")]
        found: list[Any] = flat.reshape(shape).tolist()
        return found
    return list(column) if isinstance(column, list | tuple) else []


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value)
    if isinstance(value, int | float):
        return f"{value:,.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
    try:
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M}"
    except ValueError:
        return str(value)


def _plain(text: str) -> str:
    """Plotly's titles may hold tags."""
    return text.replace("<br>", " ").replace("<b>", "").replace("</b>", "").strip()
