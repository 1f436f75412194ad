"""QueueMonitor: the notebook's view of `QueueMonitorModel`."""

from __future__ import annotations

import ipywidgets as w
import pandas as pd
import plotly.graph_objects as go
from plotly.io.base_renderers import PlotlyRenderer

from teknav_ops.figures.look import BAD, GOOD, TEMPLATE
from teknav_ops.metrics.live import QueueStats
from teknav_ops.topology import Topology
from teknav_ops.triage.view_models.queue_monitor import QueueMonitorModel
from teknav_ops.triage.widgets.painting import WIDE, PaintedBox
from teknav_ops.triage.widgets.tables import line, table

_HEADS = (
    "queue",
    "state",
    "waiting",
    "active",
    "delayed",
    "dead letters",
    "workers",
    "completed per min",
    "given up per min",
    "p95 of completed ms",
    "oldest waits s",
)


class QueueMonitor(PaintedBox):
    """All queues, one of them minute by minute, pausing with a confirmation, and a status."""

    model: QueueMonitorModel

    def __init__(self, model: QueueMonitorModel, topology: Topology) -> None:
        self.rows, self.age, self.status = (w.HTML() for _ in range(3))
        self.queue = w.Dropdown(description="queue", options=list(topology), value=model.selected, style=WIDE)
        self.refresh_button = w.Button(description="Refresh")
        self.watching = w.Checkbox(value=False, description="keep up to date", indent=False)
        self.pause_button = w.Button(description="Pause")
        self.confirm_button = w.Button(description="Confirm", button_style="warning", disabled=True)
        self.chart = w.Output()
        buttons = w.HBox([self.queue, self.pause_button, self.confirm_button, self.refresh_button, self.watching])
        super().__init__(model, [self.age, self.rows, buttons, self.chart, self.status])
        self._connect()
        model.refresh()
        self.paint()

    def close(self) -> None:
        """Watch no more when the view goes."""
        self.model.stop()
        super().close()

    def _connect(self) -> None:
        self.on_choice(self.queue, self.model.select)
        self.on_click(self.refresh_button, self.model.refresh)
        self.on_choice(self.watching, lambda is_on: self.model.watch() if is_on else self.model.stop())
        self.on_click(self.pause_button, self.model.ask)
        self.on_click(self.confirm_button, self.model.confirm)
        self.follow("rows", "selected", "last_hour", "asked", "is_stale", "is_watching")

    def _paint(self) -> None:
        model = self.model
        self.rows.value = table(_HEADS, [_row(stats) for stats in model.rows], empty="Nothing could be read yet.")
        self.watching.value = model.is_watching
        self.age.value = line("These numbers are old: Redis does not answer.", is_wrong=True) if model.is_stale else ""
        current = model.current
        self.pause_button.description = "Resume" if current is not None and current.is_paused else "Pause"
        self.pause_button.disabled = current is None
        self.confirm_button.disabled = not model.asked
        self.confirm_button.description = f"Confirm: {model.asked}" if model.asked else "Confirm"
        self.status.value = line(model.status, is_wrong=model.is_wrong)
        self._paint_chart()

    def _paint_chart(self) -> None:
        if (minutes := self.model.last_hour) is not None:
            # An output, as every chart of a notebook: a browser draws it whole, whenever it gets to it. A widget of
            # Plotly's own is 5 MB of code, and a browser that loads it for over two seconds hears no change ever.
            shown = PlotlyRenderer().to_mimebundle(_chart(self.model.selected, minutes).to_dict())
            self.chart.outputs = ({"output_type": "display_data", "data": shown, "metadata": {}},)


def _chart(queue: str, minutes: pd.DataFrame) -> go.Figure:
    """How many runs of a queue ended in each minute of the last hour, and how."""
    bars = [
        go.Bar(name="completed", x=minutes["at"], y=minutes["completed"], marker_color=GOOD),
        go.Bar(name="failed or retried", x=minutes["at"], y=minutes["failed"] + minutes["retried"], marker_color=BAD),
    ]
    figure = go.Figure(bars, layout={"template": TEMPLATE, "height": 320, "barmode": "stack"})
    figure.update_layout(margin={"l": 50, "r": 20, "t": 48, "b": 92}, title=f"{queue}: finished runs, the last hour")
    figure.update_xaxes(title="time (UTC)")
    figure.update_yaxes(title="jobs per minute", rangemode="tozero")
    return figure


def _row(stats: QueueStats) -> tuple[str, ...]:
    waits = stats.oldest_waiting_age_ms
    return (
        stats.queue, "paused" if stats.is_paused else "running", f"{stats.waiting:,}", f"{stats.active:,}",
        f"{stats.delayed:,}", f"{stats.dlq:,}", str(stats.workers), f"{stats.completed_rate * 60:,.1f}",
        f"{stats.failed_rate * 60:,.1f}",
        stats.p95_text,
        "–" if waits is None else f"{waits / 1000:,.0f}",
    )  # fmt: skip
