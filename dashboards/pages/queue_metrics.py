"""The Metrics tab: throughput, durations, errors and waiting over a window."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any, Final

from dashboards.visit import Visit
from teknav_ops.jobs.states import RunOutcome

#: Window -> (its length, one point).
_STEPS: Final = {
    "1h": (timedelta(hours=1), timedelta(minutes=1)),
    "6h": (timedelta(hours=6), timedelta(minutes=5)),
    "24h": (timedelta(hours=24), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=2)),
    "30d": (timedelta(days=30), timedelta(hours=8)),
}
RANGES: Final = tuple(_STEPS)


#: Whose durations are drawn.
OUTCOMES: Final[tuple[RunOutcome, ...]] = ("completed", "failed", "any")


def load_metrics(visit: Visit, queue: str, chosen: str, outcome: RunOutcome) -> dict[str, Any]:
    """One queue's history as columns for charts, with durations of the runs of an outcome; NaN becomes null."""
    window, step = _STEPS[chosen]
    # A point of a long window changes slowly; the reading of thirty days is not repeated for each event.
    seconds = 5.0 if window <= timedelta(hours=6) else 30.0
    frame, as_of = visit.reads.get(
        ("history", queue, chosen, outcome), lambda: visit.sources.history(queue, window, step, outcome),
        seconds=seconds, outlives_events=True,
    )  # fmt: skip

    def column(values: Any) -> list[float | None]:
        return [None if value is None or math.isnan(value) else float(value) for value in values]

    def rate(name: str) -> list[float | None]:
        # The last point is still under way.
        return column(frame[name] / frame["seconds"])

    return {
        "range": chosen, "outcome": outcome, "stepSeconds": step.total_seconds(), "asOf": as_of,
        "runs": int(frame["runs"].sum()), "ended": int(frame[["completed", "failed", "retried"]].sum().sum()),
        "at": [moment.timestamp() for moment in frame["at"]],
        "completedRate": rate("completed"), "failedRate": rate("failed"), "retriedRate": rate("retried"),
        "errorRate": column(frame["error_rate"]), "p50": column(frame["p50_ms"]), "p95": column(frame["p95_ms"]),
        "p99": column(frame["p99_ms"]), "waited": column(frame["avg_waited_ms"]),
    }  # fmt: skip
