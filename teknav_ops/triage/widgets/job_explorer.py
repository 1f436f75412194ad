"""JobExplorer: the notebook's view of `JobExplorerModel`."""

from __future__ import annotations

from functools import partial
from typing import Final

import ipywidgets as w

from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.topology import Topology
from teknav_ops.triage.view_models.job_explorer import JobExplorerModel
from teknav_ops.triage.widgets.painting import WIDE, PaintedBox, choose, short
from teknav_ops.triage.widgets.tables import block, line, table

_LABELS = {"retry": "Retry", "promote": "Run now", "cancel": "Cancel job", "run_again": "Run again"}
#: By the moment that they are due, or that they ended.
_ORDERS: Final = [("as usual", ""), ("oldest", "oldest"), ("newest", "newest")]


class JobExplorer(PaintedBox):
    """A search, filters, a page of jobs, one job with its story, its actions with a confirmation, and a status."""

    model: JobExplorerModel

    def __init__(self, model: JobExplorerModel, topology: Topology) -> None:
        self._make(model, topology)
        super().__init__(model, [
            w.HBox([self.search, self.refresh_button]), w.HBox([self.queue, self.state, self.order]),
            w.HBox([self.job_name, self.text]), self.rows, w.HBox([self.first_button, self.next_button]),
            w.HBox([self.job, self.open_button]), self.opened,
            w.HBox([*self.action_buttons.values(), self.confirm_button]), self.status,
        ])  # fmt: skip
        self._connect()
        model.refresh()
        self.paint()

    def _make(self, model: JobExplorerModel, topology: Topology) -> None:
        self._topology = topology
        self.search = w.Text(value=model.search, description="job or trace", continuous_update=False, style=WIDE)
        self.refresh_button = w.Button(description="Find")
        self.queue = w.Dropdown(description="queue", options=list(topology), value=model.queue, style=WIDE)
        self.state = w.Dropdown(
            description="state", options=[state.value for state in JobState], value=model.state, style=WIDE
        )
        self.order = w.Dropdown(description="first", options=_ORDERS, value=model.order, style=WIDE)
        self.job_name = w.Dropdown(description="job name", options=[("any", "")], style=WIDE)
        self.text = w.Text(description="payload has", continuous_update=False, style=WIDE)
        self.rows, self.opened, self.status = (w.HTML() for _ in range(3))
        self.first_button, self.next_button = w.Button(description="First page"), w.Button(description="Next page")
        self.job = w.Dropdown(description="job", options=[], style=WIDE)
        self.open_button = w.Button(description="Open")
        self.action_buttons = {name: w.Button(description=label) for name, label in _LABELS.items()}
        self.confirm_button = w.Button(description="Confirm", button_style="warning", layout={"width": "auto"})

    def _connect(self) -> None:
        model = self.model
        self.on_choice(self.search, partial(self._changed, "search"))
        self.on_choice(self.queue, partial(self._changed, "queue"))
        self.on_choice(self.state, partial(self._changed, "state"))
        self.on_choice(self.order, partial(self._changed, "order"))
        self.on_choice(self.job_name, partial(self._changed, "job_name"))
        self.on_choice(self.text, partial(self._changed, "text"))
        self.on_click(self.refresh_button, model.refresh)
        self.on_click(self.first_button, model.first_page)
        self.on_click(self.next_button, model.next_page)
        self.on_click(self.open_button, lambda: model.open(self.job.value or ""))
        for name, button in self.action_buttons.items():
            self.on_click(button, partial(model.ask, name))
        self.on_click(self.confirm_button, model.confirm)
        self.follow("rows", "next_cursor", "total_count", "opened", "story", "asked", "search")

    def _changed(self, name: str, value: str) -> None:
        """A filter lists anew from the beginning, and ends a search; a search is one itself."""
        self.model.param.update(**{"cursor": None} | ({} if name == "search" else {"search": ""}) | {name: value})
        self.model.refresh()

    def _paint(self) -> None:
        model = self.model
        names = list(self._topology[model.queue].jobs)
        if self.search.value != model.search:
            self.search.value = model.search
        if self.queue.value != model.queue:
            self.queue.value = model.queue
        if self.state.value != model.state:
            self.state.value = model.state
        # What waits or runs has one order.
        self.order.disabled = not model.can_be_sorted
        # Another queue has other jobs.
        choose(self.job_name, [("any", ""), *((name, name) for name in names)],
               model.job_name if model.job_name in names else "")  # fmt: skip
        self.rows.value = table(
            ("id", "job", "state", "enqueued (UTC)", "attempts", "error"), [_row(record) for record in model.rows],
            empty="No job matches. Choose another state, or search by id.",
        )  # fmt: skip
        ids = [(f"{record.name} {record.id}", record.id) for record in model.rows]
        known = [value for _, value in ids]
        opened = model.opened.id if model.opened is not None else None
        chosen = self.job.value if self.job.value in known else opened if opened in known else next(iter(known), None)
        choose(self.job, ids, chosen)
        self.first_button.disabled = model.cursor is None
        self.next_button.disabled = model.next_cursor is None
        self.opened.value = self._opened_html()
        for name, button in self.action_buttons.items():
            button.disabled = name not in model.actions
        self.confirm_button.disabled = not model.asked
        self.confirm_button.description = f"Confirm: {_LABELS[model.asked].lower()}" if model.asked else "Confirm"
        self.status.value = line(model.status, is_wrong=model.is_wrong)

    def _opened_html(self) -> str:
        story = self.model.story
        if story is None:
            return ""
        entries = [
            (f"{entry.at:%m-%d %H:%M:%S}", entry.action, "" if entry.attempt is None else str(entry.attempt),
             entry.error_type or "", entry.actor or "")
            for entry in story.entries
        ]  # fmt: skip
        texts = "\n\n".join([*story.payloads(), *story.attempts()])
        heads = ("when (UTC)", "what", "attempt", "error", "who")
        return table(heads, entries, empty="Nothing was recorded of it yet.") + block(texts)


def _row(record: JobRecord) -> tuple[str, ...]:
    error = short(f"{record.error_type}: {record.error}") if record.error_type else ""
    return (
        record.id, record.name, record.state.value, f"{record.enqueued_at:%m-%d %H:%M:%S}", str(record.attempts_made),
        error,
    )  # fmt: skip
