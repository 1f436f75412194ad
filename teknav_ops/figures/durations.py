"""Charts of how long jobs take."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from teknav_ops.figures.look import SERIES_LIMIT, framed, nothing, over_time

if TYPE_CHECKING:
    import pandas


def p95_lines(
    frame: pandas.DataFrame, *, as_of: str, since: datetime | None = None, until: datetime | None = None,
    by: str = "queue", title: str = "p95 of completed runs",
) -> go.Figure:  # fmt: skip
    """One line per queue (or job name) over the window. `frame`: at, `by`, p95_ms, n. The busiest are drawn.

    The title says of which runs; without one, of those that questions answer with unless asked for others.
    """
    known = frame.dropna(subset=["p95_ms"]) if len(frame) else frame
    if known.empty:
        return nothing(title=title, as_of=as_of, why="No job with a known duration ended in this window.")
    figure = go.Figure()
    for name in known.groupby(by)["n"].sum().nlargest(SERIES_LIMIT).index:
        line = known[known[by] == name].sort_values("at")
        figure.add_scatter(
            x=line["at"], y=line["p95_ms"], customdata=line["n"], name=str(name), mode="lines+markers",
            marker={"size": 5}, hovertemplate="%{y:,.0f} ms, n=%{customdata:,}",
        )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="p95 of durations (ms)")
    return over_time(figure, since=since, until=until)
