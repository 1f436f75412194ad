"""How all charts look: light, readable, with colours that colour-blind people can tell apart."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import plotly.graph_objects as go

if TYPE_CHECKING:
    import pandas

#: Okabe and Ito's colours, in an order in which neighbours differ in lightness too.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#5B5B5B", "#B8A900")
GOOD: Final = COLOURS[2]
BAD: Final = COLOURS[3]
_INK: Final = "#1f2933"
_GRID: Final = "#e4e7eb"
#: So many lines a person can follow; the rest go into one called `others`.
SERIES_LIMIT: Final = len(COLOURS)

_AXIS: Final[dict[str, Any]] = {
    "gridcolor": _GRID, "linecolor": "#9aa5b1", "zeroline": False, "automargin": True, "title": {"standoff": 12},
}  # fmt: skip
TEMPLATE: Final = go.layout.Template(
    layout={
        "colorway": COLOURS, "paper_bgcolor": "#ffffff", "plot_bgcolor": "#ffffff", "hovermode": "x unified",
        "font": {"family": "system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif", "size": 13, "color": _INK},
        "xaxis": _AXIS, "yaxis": _AXIS, "margin": {"l": 64, "r": 24, "t": 84, "b": 104}, "height": 440,
        "legend": {"orientation": "h", "yref": "container", "y": 0.01, "yanchor": "bottom", "x": 0},
        "title": {"x": 0, "xref": "paper", "xanchor": "left", "font": {"size": 17}},
    }
)  # fmt: skip


def framed(figure: go.Figure, *, title: str, as_of: str, x: str, y: str) -> go.Figure:
    """Give a figure its title, the moment its numbers are of, and axes with units."""
    figure.update_layout(template=TEMPLATE, title={"text": title, "subtitle": {"text": as_of}})
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y, rangemode="tozero")
    return figure


def row_each(figure: go.Figure, count: int) -> go.Figure:
    """Let horizontal bars have a row each, the first on top, high enough for the name of every one."""
    figure.update_layout(height=max(300, 220 + 26 * count))
    return figure.update_yaxes(autorange="reversed", rangemode="normal", type="category", dtick=1)


def nothing(*, title: str, as_of: str, why: str) -> go.Figure:
    """A figure that says there is nothing to draw."""
    figure = go.Figure()
    figure.update_layout(
        template=TEMPLATE, title={"text": title, "subtitle": {"text": as_of}}, height=200,
        xaxis={"visible": False}, yaxis={"visible": False},
    )  # fmt: skip
    figure.add_annotation(text=why, showarrow=False, xref="paper", yref="paper", x=0.5, y=0.5, font={"size": 15})
    return figure


def over_time(
    figure: go.Figure, *, since: datetime | None, until: datetime | None, width: timedelta | None = None
) -> go.Figure:
    """Let the time axis show the whole window, also where little happened in it; bars are as wide as their step."""
    if since is not None and until is not None:
        figure.update_xaxes(range=[since, until])
    if width is not None:
        milliseconds = width.total_seconds() * 1000
        # A bar stands on its step, which begins at `at`.
        figure.update_traces(width=milliseconds * 0.92, offset=0, selector={"type": "bar"})
    return figure


def every_step(
    table: pandas.DataFrame, *, since: datetime | None, until: datetime | None, width: timedelta | None
) -> pandas.DataFrame:  # fmt: skip
    """The table (index: at) with a row of zeros for each step of the window in which nothing happened."""
    import pandas as pd

    if since is None or until is None or width is None:
        return table
    first = pd.Timestamp(since).floor(width)
    steps = pd.date_range(first, until, freq=width)
    return table.reindex(table.index.union(steps), fill_value=0.0)
