"""Charts: pure functions from a DataFrame to a plotly figure. Nothing here asks Redis or SQL."""

from teknav_ops.figures.durations import heat_by_hour, p95_lines
from teknav_ops.figures.failures import cause_bars, dlq_flow_bars, error_types_stacked
from teknav_ops.figures.load import backlog_bars, rate_area
from teknav_ops.figures.planning import burn_bars, cost_bars, forecast_lines

__all__ = [
    "backlog_bars",
    "burn_bars",
    "cause_bars",
    "cost_bars",
    "dlq_flow_bars",
    "error_types_stacked",
    "forecast_lines",
    "heat_by_hour",
    "p95_lines",
    "rate_area",
]
