"""Charts of how much work there is."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from teknav_ops.figures.look import COLOURS, SERIES_LIMIT, every_step, framed, nothing, over_time, row_each

if TYPE_CHECKING:
    import pandas


def rate_area(
    frame: pandas.DataFrame, *, as_of: str, since: datetime | None = None, until: datetime | None = None,
    width: timedelta | None = None, by: str = "queue", title: str = "Completed jobs per second",
) -> go.Figure:  # fmt: skip
    """Stacked areas over time of the jobs that were completed: those that were given up would look like work done.
    `frame`: at, `by`, completed, failed, rate (of both, per second). The busiest are drawn, the others summed.
    """
    if frame.empty or not frame["completed"].sum():
        return nothing(title=title, as_of=as_of, why="No job was completed in this window.")
    ended = frame["completed"] + frame["failed"]
    rates = frame.assign(rate=(frame["rate"] * frame["completed"] / ended).where(ended > 0, 0.0))
    table = rates.pivot_table(index="at", columns=by, values="rate", aggfunc="sum", fill_value=0.0)
    table = every_step(table, since=since, until=until, width=width)
    order = list(table.sum().sort_values(ascending=False).index)
    shown, rest = order[: SERIES_LIMIT - 1], order[SERIES_LIMIT - 1 :]
    figure = go.Figure()
    for name in shown:
        figure.add_scatter(x=table.index, y=table[name], name=str(name), stackgroup="one", hovertemplate="%{y:,.2f}/s")
    if rest:
        figure.add_scatter(
            x=table.index, y=table[rest].sum(axis=1), name="others", stackgroup="one", hovertemplate="%{y:,.2f}/s"
        )
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="completed jobs (1/s)")
    return over_time(figure, since=since, until=until)


def backlog_bars(frame: pandas.DataFrame, *, as_of: str, title: str = "Jobs in each queue") -> go.Figure:
    """Waiting, paused, active, delayed and dead letters per queue. `frame`: one row per queue, its name the index."""
    states = ("waiting", "paused", "active", "delayed", "dlq")
    busy = frame[frame[list(states)].sum(axis=1) > 0] if len(frame) else frame
    if busy.empty:
        return nothing(title=title, as_of=as_of, why="All queues are empty.")
    figure = go.Figure()
    for state, colour in zip(states, (*COLOURS[:3], COLOURS[4], COLOURS[3]), strict=True):
        name = "dead letters" if state == "dlq" else state
        figure.add_bar(y=busy.index, x=busy[state], name=name, orientation="h", marker_color=colour)
    framed(figure, title=title, as_of=as_of, x="jobs", y="queue")
    return row_each(figure.update_layout(barmode="stack", hovermode="y unified"), len(busy))
