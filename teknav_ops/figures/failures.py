"""Charts of what goes wrong."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from teknav_ops.figures.look import BAD, COLOURS, GOOD, SERIES_LIMIT, framed, nothing, over_time, row_each

if TYPE_CHECKING:
    import pandas

_EXAMPLE_CHARACTERS = 60


def error_types_stacked(
    frame: pandas.DataFrame, *, as_of: str, since: datetime | None = None, until: datetime | None = None,
    width: timedelta | None = None, title: str = "Runs that ended in an error",
) -> go.Figure:  # fmt: skip
    """Stacked bars over time, by error type. `frame`: at, error_type, n. The most frequent are named."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="No run ended in an error in this window.")
    table = frame.pivot_table(index="at", columns="error_type", values="n", aggfunc="sum", fill_value=0)
    order = list(table.sum().sort_values(ascending=False).index)
    shown, rest = order[: SERIES_LIMIT - 1], order[SERIES_LIMIT - 1 :]
    figure = go.Figure()
    for name in shown:
        figure.add_bar(x=table.index, y=table[name], name=str(name))
    if rest:
        figure.add_bar(x=table.index, y=table[rest].sum(axis=1), name="others")
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="runs")
    return over_time(figure, since=since, until=until, width=width).update_layout(barmode="stack")


def dlq_flow_bars(
    frame: pandas.DataFrame, *, as_of: str, since: datetime | None = None, until: datetime | None = None,
    width: timedelta | None = None, title: str = "Dead letters in and out",
) -> go.Figure:  # fmt: skip
    """What came above the line, what left below it, and the sum as a line. `frame`: at, inflow, outflow, net."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="No dead letter came or left in this window.")
    sums = frame.groupby("at")[["inflow", "outflow", "net"]].sum().sort_index()
    figure = go.Figure()
    figure.add_bar(x=sums.index, y=sums["inflow"], name="came", marker_color=BAD)
    figure.add_bar(x=sums.index, y=-sums["outflow"], name="replayed or deleted", marker_color=GOOD)
    figure.add_scatter(x=sums.index, y=sums["net"].cumsum(), name="change so far", line={"color": COLOURS[6]})
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="dead letters")
    return over_time(figure, since=since, until=until, width=width).update_layout(barmode="relative")


def cause_bars(frame: pandas.DataFrame, *, as_of: str, title: str = "Dead letters by cause") -> go.Figure:
    """The most frequent causes. `frame`: queue, error_type, fingerprint, count, example_error."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="There are no dead letters.")
    top = frame.nlargest(12, "count")
    figure = go.Figure()
    figure.add_bar(
        y=top["queue"] + " · " + top["error_type"] + " · " + top["fingerprint"].str[:8], x=top["count"],
        orientation="h", marker_color=BAD, customdata=top["example_error"].str.slice(0, _EXAMPLE_CHARACTERS),
        hovertemplate="%{x:,}: %{customdata}<extra></extra>",
    )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="dead letters", y="queue · error type · fingerprint")
    return row_each(figure.update_layout(hovermode="closest"), len(top))
