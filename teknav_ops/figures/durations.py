"""Charts of how long jobs take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from teknav_ops.figures.look import SERIES_LIMIT, framed, nothing

if TYPE_CHECKING:
    import pandas


def p95_lines(frame: pandas.DataFrame, *, as_of: str, by: str = "queue", title: str = "p95 of durations") -> go.Figure:
    """One line per queue (or job name) over time. `frame`: at, `by`, p95_ms, n. The busiest are drawn."""
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
    return framed(figure, title=title, as_of=as_of, x="time (UTC)", y="p95 of durations (ms)")


def heat_by_hour(frame: pandas.DataFrame, *, as_of: str, title: str = "When jobs arrive") -> go.Figure:
    """Jobs per hour of day and weekday. `frame`: at, enqueued."""
    if frame.empty or not frame["enqueued"].sum():
        return nothing(title=title, as_of=as_of, why="No job was enqueued in this window.")
    hours = frame.assign(day=frame["at"].dt.dayofweek, hour=frame["at"].dt.hour)
    cells = hours.pivot_table(index="day", columns="hour", values="enqueued", aggfunc="sum", fill_value=0)
    cells = cells.reindex(index=range(7), columns=range(24), fill_value=0)
    figure = go.Figure(
        go.Heatmap(
            z=cells.to_numpy(), x=list(range(24)), y=["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
            colorscale="Cividis", colorbar={"title": "jobs"}, hovertemplate="%{y} %{x}:00, %{z:,} jobs<extra></extra>",
        )
    )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="hour of the day (UTC)", y="day of the week")
    return figure.update_yaxes(autorange="reversed", rangemode="normal")
