"""Charts: pure functions from a DataFrame to a plotly figure. Nothing here asks Redis or SQL."""

from teknav_ops.figures.durations import p95_lines
from teknav_ops.figures.failures import cause_bars, dlq_flow_bars, error_types_stacked
from teknav_ops.figures.load import backlog_bars, rate_area

__all__ = [
    "backlog_bars",
    "cause_bars",
    "dlq_flow_bars",
    "error_types_stacked",
    "p95_lines",
    "rate_area",
]
