"""Charts of what happened, in the order of time."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go

from teknav_ops.figures.look import BAD, COLOURS, GOOD, framed, nothing, over_time

if TYPE_CHECKING:
    import pandas

_GREY: Final = "#9aa5b1"
#: (name, part, outcome, colour), in the order of the legend.
_KINDS: Final = (
    ("waited", "waited", None, _GREY), ("completed", "ran", "completed", GOOD),
    ("retried", "ran", "retried", COLOURS[1]), ("given up", "ran", "failed", BAD),
)  # fmt: skip
#: So many rows a person can look at.
_ROWS: Final = 40
#: What took less is drawn so wide, as a share of the whole: a mark that can be seen and pointed at.
_LEAST_SHARE: Final = 0.004


def story_timeline(frame: pandas.DataFrame, *, as_of: str, title: str = "Waits and runs") -> go.Figure:
    """One row per job: grey while it waited, coloured while it ran. `frame`: job_id, job_name, queue, attempt, part,
    since, until, outcome, error_type. What is too short to be seen is drawn a little longer; hovering tells the truth.
    """
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="No run has ended yet.")
    rows = frame.assign(row=frame["job_name"] + " · " + frame["job_id"].str[-8:])
    shown = list(dict.fromkeys(rows["row"]))[:_ROWS]
    rows = rows[rows["row"].isin(shown)]
    least_ms = (rows["until"].max() - rows["since"].min()).total_seconds() * 1000 * _LEAST_SHARE
    figure = go.Figure()
    for name, part, outcome, colour in _KINDS:
        some = rows[(rows["part"] == part) & ((rows["outcome"] == outcome) if outcome else True)]
        took_ms = (some["until"] - some["since"]).dt.total_seconds() * 1000
        about = some["queue"] + ", attempt " + some["attempt"].astype("string").fillna("?")
        about += " · " + some["error_type"].fillna("").astype("string")
        hover = "%{customdata[0]:,.0f} ms · %{customdata[1]}<br>from %{base|%H:%M:%S.%L}"
        figure.add_bar(
            y=some["row"], x=took_ms.clip(lower=max(1.0, least_ms)), base=some["since"], name=name, orientation="h",
            marker_color=colour, width=0.5 if part == "ran" else 0.22, hovertemplate=f"{hover}<extra>{name}</extra>",
            customdata=list(zip(took_ms, about, strict=True)),
        )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="job")
    figure.update_layout(barmode="overlay", hovermode="closest", height=260 + 34 * len(shown))
    figure.update_xaxes(type="date")
    return figure.update_yaxes(categoryorder="array", categoryarray=shown, autorange="reversed", rangemode="normal")


def moments(
    frame: pandas.DataFrame, *, as_of: str, since: datetime | None = None, until: datetime | None = None,
    title: str = "What happened when",
) -> go.Figure:  # fmt: skip
    """Single moments by kind: alerts, pauses, operators' actions, first failures. `frame`: at, kind, queue, what."""
    if frame.empty:
        return nothing(title=title, as_of=as_of, why="Nothing that anybody noted happened in this window.")
    figure = go.Figure()
    for number, (kind, some) in enumerate(frame.groupby("kind", sort=False)):
        figure.add_scatter(
            x=some["at"], y=some["kind"], mode="markers", name=str(kind), customdata=some[["queue", "what"]],
            marker={"size": 11, "color": COLOURS[number % len(COLOURS)], "line": {"width": 1, "color": "#ffffff"}},
            hovertemplate="%{x|%H:%M:%S} %{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        )  # fmt: skip
    framed(figure, title=title, as_of=as_of, x="time (UTC)", y="")
    figure.update_layout(hovermode="closest", showlegend=False, height=230 + 36 * frame["kind"].nunique())
    over_time(figure, since=since, until=until)
    return figure.update_yaxes(autorange="reversed", rangemode="normal", type="category")
