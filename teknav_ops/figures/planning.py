"""Charts for planning: objectives, capacity, money."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go

from teknav_ops.figures.look import BAD, COLOURS, GOOD, framed, nothing, row_each

if TYPE_CHECKING:
    import pandas

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_TOP: Final = 20
_KEY_CHARACTERS: Final = 48
_NO_COST: Final = "No AI run with a known price cost anything in this window."


def budget_bars(frame: pandas.DataFrame, *, as_of: str, title: str = "Error budgets used") -> go.Figure:
    """How much of each error budget is used; over 100 % is a broken promise. `frame`: queue, budget_used, finished."""
    known = frame.dropna(subset=["budget_used"]) if len(frame) else frame
    if known.empty:
        return nothing(title=title, as_of=as_of, why="Nothing finished in this window.")
    figure = go.Figure()
    figure.add_bar(
        y=known["queue"], x=known["budget_used"], orientation="h", customdata=known["finished"],
        marker_color=[BAD if used > 1 else GOOD for used in known["budget_used"]],
        hovertemplate="%{x:.0%} of the budget, %{customdata:,} jobs<extra></extra>",
    )  # fmt: skip
    figure.add_vline(
        x=1, line={"color": COLOURS[6], "dash": "dash"}, annotation_text="all of it", annotation_position="top right"
    )
    framed(figure, title=title, as_of=as_of, x="error budget used in this window", y="queue")
    figure.update_xaxes(tickformat=".0%", rangemode="tozero")
    return row_each(figure.update_layout(hovermode="closest"), len(known))


def heat_by_hour(frame: pandas.DataFrame, *, as_of: str, title: str = "When jobs arrive") -> go.Figure:
    """Mean jobs per hour of day and weekday; empty where no such hour was seen. `frame`: at, enqueued, per hour."""
    if frame.empty or not frame["enqueued"].sum():
        return nothing(title=title, as_of=as_of, why="No whole hour with arrivals is in this window yet.")
    hours = frame.assign(day=frame["at"].dt.dayofweek, hour=frame["at"].dt.hour)
    cells = hours.pivot_table(index="day", columns="hour", values="enqueued", aggfunc="mean")
    cells = cells.reindex(index=range(7), columns=range(24))
    figure = go.Figure(
        go.Heatmap(
            z=cells.to_numpy(), x=list(range(24)), y=list(_DAYS), colorscale="Cividis", hoverongaps=False,
            colorbar={"title": "jobs/h"}, hovertemplate="%{y} %{x}:00, %{z:,.0f} jobs<extra></extra>",
        )
    )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="hour of the day (UTC)", y="day of the week")
    return figure.update_yaxes(autorange="reversed", rangemode="normal").update_xaxes(dtick=2)


def forecast_band(frame: pandas.DataFrame, *, as_of: str, title: str = "Jobs that may come") -> go.Figure:
    """Expected jobs per hour with their interval. `frame`: at, expected, low, high, days, threads_high."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="There is no whole hour yet to learn from.")
    figure = go.Figure()
    edge = {"width": 0}
    figure.add_scatter(x=frame["at"], y=frame["high"], line=edge, showlegend=False, hoverinfo="skip")
    figure.add_scatter(
        x=frame["at"], y=frame["low"], line=edge, fill="tonexty", fillcolor="rgba(0,114,178,.18)", name="interval",
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=frame["at"], y=frame["expected"], name="expected", mode="lines+markers", line={"color": COLOURS[0]},
        customdata=frame[["low", "high", "days", "threads_high"]],
        hovertemplate="%{y:,.0f} (%{customdata[0]:,.0f} to %{customdata[1]:,.0f}) jobs, of %{customdata[2]} days; "
        "%{customdata[3]} threads for the upper end",
    )  # fmt: skip
    return framed(figure, title=title, as_of=as_of, x="time (UTC)", y="jobs per hour (estimate)")


def scenario_lines(frame: pandas.DataFrame, *, as_of: str, title: str = "Threads for other loads") -> go.Figure:
    """Busy and needed threads over load. `frame`: load_factor, busy_threads, needed_threads, threads (there are)."""
    if frame.empty or not frame["busy_threads"].sum():
        return nothing(title=title, as_of=as_of, why="Nothing ran in this window, so there is nothing to reckon from.")
    figure = go.Figure()
    names = {"busy_threads": "busy", "needed_threads": "needed for comfort", "threads": "there are"}
    for column, name in names.items():
        dash = "dash" if column == "threads" else "solid"
        figure.add_scatter(
            x=frame["load_factor"], y=frame[column], name=name, mode="lines+markers", line={"dash": dash},
            hovertemplate="%{y:,.4~g} threads",
        )  # fmt: skip
    return framed(figure, title=title, as_of=as_of, x="load (× today's)", y="threads (estimate)")


def cost_bars(
    frame: pandas.DataFrame, *, as_of: str, by: str = "key", title: str = "What AI runs cost"
) -> go.Figure:  # fmt: skip
    """US dollars per key, failed runs apart. `frame`: key, `by`, cost_usd, wasted_usd, runs. The dearest are drawn."""
    if frame.empty or not frame["cost_usd"].sum():
        return nothing(title=title, as_of=as_of, why=_NO_COST)
    top = frame.nlargest(_TOP, "cost_usd")
    labels = [_cut(str(label)) for label in top[by].fillna(top["key"])]
    figure = go.Figure()
    for name, dollars, colour in (
        ("succeeded", top["cost_usd"] - top["wasted_usd"], GOOD), ("failed or stopped", top["wasted_usd"], BAD),
    ):  # fmt: skip
        figure.add_bar(
            y=labels, x=dollars, orientation="h", name=name, marker_color=colour, customdata=top["runs"],
            hovertemplate=f"%{{x:,.4f}} USD, %{{customdata:,}} runs<extra>{name}</extra>",
        )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="cost (US dollars)", y="")
    return row_each(figure.update_layout(barmode="stack", hovermode="closest"), len(top))


def cost_days(frame: pandas.DataFrame, *, as_of: str, limit_usd: float, title: str = "Cost per day") -> go.Figure:
    """US dollars per day (UTC) against the day's budget. `frame`: key (the day), cost_usd, wasted_usd, runs."""
    if frame.empty or not frame["cost_usd"].sum():
        return nothing(title=title, as_of=as_of, why=_NO_COST)
    days = frame.sort_values("key")
    figure = go.Figure()
    figure.add_bar(x=days["key"], y=days["cost_usd"] - days["wasted_usd"], name="succeeded", marker_color=GOOD)
    figure.add_bar(x=days["key"], y=days["wasted_usd"], name="failed or stopped", marker_color=BAD)
    if days["cost_usd"].max() > limit_usd / 10:
        figure.add_hline(y=limit_usd, line={"color": COLOURS[6], "dash": "dash"}, annotation_text="a day's budget")
    framed(figure, title=title, as_of=as_of, x="day (UTC)", y="cost (US dollars)")
    return figure.update_layout(barmode="stack", bargap=0.5 if len(days) < 4 else 0.2).update_xaxes(type="category")


def _cut(label: str) -> str:
    return label if len(label) <= _KEY_CHARACTERS else f"{label[: _KEY_CHARACTERS - 1]}…"
