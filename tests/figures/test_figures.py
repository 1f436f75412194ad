"""Charts: an axis that shows the window, bars as wide as their step, and a sentence where there is nothing to draw."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import pytest

from teknav_ops import figures

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
WINDOW = {"since": NOON - timedelta(hours=24), "until": NOON}
QUARTER = timedelta(minutes=15)
#: Columns that hold numbers, of all frames.
COLUMNS = (
    "at", "queue", "rate", "p95_ms", "n", "error_type", "inflow", "outflow", "net", "count", "example_error",
    "fingerprint", "waiting", "paused", "active", "delayed", "dlq", "budget_used", "finished", "enqueued", "expected",
    "low", "high", "days", "threads_high", "load_factor", "busy_threads", "needed_threads", "threads", "key",
    "cost_usd", "wasted_usd", "runs", "title", "job_id", "job_name", "attempt", "part", "since", "until", "outcome",
    "kind", "what",
)  # fmt: skip


def one_step(**values: Any) -> pd.DataFrame:
    return pd.DataFrame([{"at": pd.Timestamp(NOON - timedelta(hours=1)), "queue": "q", **values}])


@pytest.mark.parametrize("name", figures.__all__)
def test_without_data_a_chart_says_why(name: str) -> None:
    function = getattr(figures, name)
    more = {"limit_usd": 20.0} if "limit_usd" in inspect.signature(function).parameters else {}

    figure = function(pd.DataFrame(columns=list(COLUMNS)), as_of="as of noon", **more)

    assert len(figure.data) == 0 and len(figure.layout.annotations) == 1
    assert figure.layout.title.text and figure.layout.title.subtitle.text == "as of noon"
    assert len(figure.layout.annotations[0].text) > 15


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("rate_area", one_step(rate=2.0, completed=9, failed=0)), ("p95_lines", one_step(p95_ms=5.0, n=3)),
        ("error_types_stacked", one_step(error_type="Boom", n=3)),
        ("dlq_flow_bars", one_step(inflow=3, outflow=1, net=2)), ("moments", one_step(kind="alert", what="x")),
    ],
)  # fmt: skip
def test_one_busy_moment_of_a_day_is_shown_as_a_moment_of_a_day(name: str, frame: pd.DataFrame) -> None:
    function = getattr(figures, name)
    more = {"width": QUARTER} if "width" in inspect.signature(function).parameters else {}

    figure = function(frame, as_of="", **WINDOW, **more)

    begin, end = (pd.Timestamp(value) for value in figure.layout.xaxis.range)
    assert (begin, end) == (pd.Timestamp(WINDOW["since"]), pd.Timestamp(WINDOW["until"]))
    for bars in figure.select_traces({"type": "bar"}):
        assert 0.5 * 900_000 < bars.width <= 900_000


def test_an_area_falls_to_nothing_where_nothing_happened() -> None:
    # Of eight that finished in a second, two were completed.
    steps = one_step(rate=8.0, completed=1_800, failed=5_400)
    area = figures.rate_area(steps, as_of="", **WINDOW, width=QUARTER).data[0]
    assert len(area.x) == 97 and sorted(area.y)[-2:] == [0.0, 2.0]


def test_short_runs_can_be_seen_and_say_how_short_they_were() -> None:
    rows = [
        {"job_id": f"job-{n}", "job_name": "work", "queue": "q", "attempt": 1, "part": "ran", "since": at,
         "until": at + timedelta(milliseconds=2), "outcome": outcome, "error_type": None}
        for n, (at, outcome) in enumerate([(NOON, "completed"), (NOON + timedelta(hours=1), "failed")])
    ]  # fmt: skip

    figure = figures.story_timeline(pd.DataFrame(rows), as_of="")

    drawn = {bars.name: bars for bars in figure.data}
    assert drawn["completed"].x[0] > 10_000 and drawn["completed"].customdata[0][0] == pytest.approx(2.0)
    assert len(drawn["waited"].y) == 0 and len(drawn["given up"].y) == 1


def test_costs_are_split_into_what_succeeded_and_what_did_not() -> None:
    frame = pd.DataFrame({"key": ["7", "8"], "title": ["صف", None], "cost_usd": [2.0, 1.0], "wasted_usd": [0.5, 0.0],
                          "runs": [4, 1]})  # fmt: skip
    figure = figures.cost_bars(frame, as_of="", by="title")
    good, bad = figure.data
    assert list(good.x) == [1.5, 1.0] and list(bad.x) == [0.5, 0.0] and list(good.y) == ["صف", "8"]


def test_every_chart_names_its_axes() -> None:
    figure = figures.budget_bars(
        pd.DataFrame({"queue": ["a", "b"], "budget_used": [0.5, 2.0], "finished": [10, 20]}), as_of=""
    )  # fmt: skip
    assert isinstance(figure, go.Figure) and figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
    assert figure.data[0].marker.color[0] != figure.data[0].marker.color[1]


@pytest.mark.parametrize("name", ["backlog_bars", "budget_bars", "cause_bars", "cost_bars"])
def test_bars_that_lie_have_a_row_each_with_its_name(name: str) -> None:
    rows = [
        {
            **dict.fromkeys(COLUMNS, 2),
            "queue": f"q{number}",
            "error_type": "Boom",
            "fingerprint": "f00",
            "example_error": "e",
            "key": f"k{number}",
        }
        for number in range(12)
    ]
    frame = pd.DataFrame(rows, index=[row["queue"] for row in rows])

    figure = getattr(figures, name)(frame, as_of="")

    assert len(figure.data[0].y) == 12
    assert figure.layout.yaxis.dtick == 1 and figure.layout.height >= 12 * 26
