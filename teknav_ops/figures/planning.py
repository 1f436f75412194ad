"""Charts for planning: objectives, capacity, money."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from teknav_ops.figures.look import BAD, COLOURS, GOOD, framed, nothing

if TYPE_CHECKING:
    import pandas


def burn_bars(frame: pandas.DataFrame, *, as_of: str, title: str = "Error budget burn") -> go.Figure:
    """Burn rate per queue; over 1 the budget does not last. `frame`: queue, burn."""
    known = frame.dropna(subset=["burn"]) if len(frame) else frame
    if known.empty:
        return nothing(title=title, as_of=as_of, why="Nothing was measured against the objective in this window.")
    figure = go.Figure()
    figure.add_bar(
        x=known["queue"], y=known["burn"], marker_color=[BAD if burn > 1 else GOOD for burn in known["burn"]],
        hovertemplate="%{y:.2f} × allowed<extra></extra>",
    )  # fmt: skip
    figure.add_hline(y=1, line={"color": COLOURS[6], "dash": "dash"}, annotation_text="the budget just lasts")
    return framed(figure, title=title, as_of=as_of, x="queue", y="burn rate (× allowed)")


def forecast_lines(frame: pandas.DataFrame, *, as_of: str, title: str = "Threads needed") -> go.Figure:
    """Busy and needed threads over load. `frame`: load_factor, busy_threads, needed_threads, threads (there are)."""
    if frame.empty:
        return nothing(
            title=title, as_of=as_of, why="Nothing ran in this window, so there is nothing to forecast from."
        )
    figure = go.Figure()
    names = {"busy_threads": "busy", "needed_threads": "needed for comfort", "threads": "there are"}
    for column, name in names.items():
        dash = "dash" if column == "threads" else "solid"
        figure.add_scatter(x=frame["load_factor"], y=frame[column], name=name, line={"dash": dash})
    return framed(figure, title=title, as_of=as_of, x="load (× today's)", y="threads")


def cost_bars(frame: pandas.DataFrame, *, as_of: str, title: str = "What AI runs cost") -> go.Figure:
    """US dollars per key. `frame`: key, cost_usd, runs."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="No AI run began in this window.")
    top = frame.nlargest(20, "cost_usd")
    figure = go.Figure()
    figure.add_bar(
        y=top["key"].astype(str), x=top["cost_usd"], orientation="h", customdata=top["runs"],
        hovertemplate="$%{x:,.4f}, %{customdata:,} runs<extra></extra>",
    )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="cost (US dollars)", y="")
    return figure.update_layout(hovermode="closest").update_yaxes(autorange="reversed", type="category")
