"""Charts: pure functions from a DataFrame to a plotly figure. Nothing here asks Redis or SQL."""

from teknav_ops.figures.durations import p95_lines
from teknav_ops.figures.failures import cause_bars, dlq_flow_bars, error_types_stacked
from teknav_ops.figures.load import backlog_bars, rate_area
from teknav_ops.figures.planning import (
    budget_bars,
    cost_bars,
    cost_days,
    forecast_band,
    heat_by_hour,
    scenario_lines,
)
from teknav_ops.figures.stories import moments, story_timeline

__all__ = [
    "backlog_bars",
    "budget_bars",
    "cause_bars",
    "cost_bars",
    "cost_days",
    "dlq_flow_bars",
    "error_types_stacked",
    "forecast_band",
    "heat_by_hour",
    "moments",
    "p95_lines",
    "rate_area",
    "scenario_lines",
    "story_timeline",
]
