"""DlqTriage: the notebook's view of `DlqTriageModel`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import ipywidgets as w

from teknav_ops.jobs.batch_deletion import Deletion
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.dead_letter_causes import DeadLetterGroup
from teknav_ops.triage.view_models.dlq_triage import DlqTriageModel
from teknav_ops.triage.widgets.painting import WIDE, PaintedBox, choose, short
from teknav_ops.triage.widgets.tables import block, line, table

_LETTERS = 20
_CAUSES = 12


class DlqTriage(PaintedBox):
    """Filters, causes, entries, one whole dead letter, what was previewed to replay or delete, a purge, a status."""

    model: DlqTriageModel

    def __init__(self, model: DlqTriageModel) -> None:
        self._make(model)
        super().__init__(model, [
            self.queue, w.HBox([self.error_type, self.fingerprint]),
            w.HBox([self.text, self.order, self.refresh_button]), self.causes,
            self.letters, w.HBox([self.job, self.inspect_button]), self.inspected, self.effects,
            w.HBox([self.limit, self.rate]), w.HBox([self.preview_button, self.replay_button, self.cancel_button]),
            self.preview, self.progress, self.replays, w.HBox([self.replay, self.stop_button, self.again_button]),
            w.HBox([self.preview_deletion_button, self.reason, self.delete_button]), self.deletion,
            w.HBox([self.confirmation, self.purge_button]), self.status,
        ])  # fmt: skip
        self._connect()
        model.refresh()
        self.paint()

    def _make(self, model: DlqTriageModel) -> None:
        self.queue = w.Dropdown(description="queue", options=_queues(model), value=model.queue, style=WIDE)
        self.error_type = w.Dropdown(description="error type", options=[("any", "")], style=WIDE)
        self.fingerprint = w.Dropdown(description="fingerprint", options=[("any", "")], style=WIDE)
        self.text = w.Text(description="contains", continuous_update=False, style=WIDE)
        self.order = w.Dropdown(description="first", options=["newest", "oldest"], value=model.order, style=WIDE)
        self.refresh_button = w.Button(description="Refresh")
        self.causes, self.letters, self.inspected, self.preview, self.status = (w.HTML() for _ in range(5))
        self.effects = w.HTML()
        self.job = w.Dropdown(description="dead letter", options=[], style=WIDE)
        self.inspect_button = w.Button(description="Inspect")
        self.limit = w.BoundedIntText(
            value=model.limit or 0, min=0, max=100_000, description="at most (0: all)", style=WIDE
        )
        self.rate = w.BoundedFloatText(
            value=model.rate_per_second, min=0.05, max=10_000, description="jobs per second", style=WIDE
        )
        self.preview_button = w.Button(description="Preview")
        self.replay_button = w.Button(
            description="Replay", disabled=True, button_style="warning", layout={"width": "auto"}
        )
        self.cancel_button = w.Button(description="Cancel", disabled=True)
        self.replays = w.HTML()
        self.replay = w.Dropdown(description="batch replay", options=[], style=WIDE)
        self.stop_button = w.Button(description="Stop it")
        self.again_button = w.Button(description="Show what failed again", layout={"width": "auto"})
        self.progress = w.IntProgress(min=0, max=1, description="done", style=WIDE)
        self.preview_deletion_button = w.Button(description="Preview a deletion", layout={"width": "auto"})
        self.reason = w.Text(description="delete because", placeholder="why; kept in the audit trail", style=WIDE)
        self.delete_button = w.Button(
            description="Delete", disabled=True, button_style="danger", layout={"width": "auto"}
        )
        self.deletion = w.HTML()
        self.confirmation = w.Text(
            description="purge all",
            style=WIDE,
            layout={"width": "420px"},
        )
        self.purge_button = w.Button(description="Purge", button_style="danger")

    def _connect(self) -> None:
        model = self.model
        for name in ("error_type", "fingerprint", "text", "order"):
            self.on_choice(getattr(self, name), partial(self._filtered, name))
        self.on_choice(self.queue, model.choose_queue)
        self.on_choice(self.limit, lambda value: setattr(model, "limit", value or None))
        self.on_choice(self.rate, lambda value: setattr(model, "rate_per_second", value))
        clicks: dict[w.Button, Callable[[], None]] = {
            self.refresh_button: model.refresh, self.preview_button: model.preview_replay,
            self.replay_button: model.replay, self.cancel_button: model.cancel,
            self.stop_button: lambda: model.stop(self.replay.value or ""),
            self.again_button: lambda: self._filtered("failed_again_of", self._other_replay()),
            self.inspect_button: lambda: model.inspect(self.job.value or ""), self.purge_button: self._purge,
            self.preview_deletion_button: model.preview_deletion, self.delete_button: self._delete,
        }  # fmt: skip
        for button, action in clicks.items():
            self.on_click(button, action)
        self.follow(
            "queue",
            "queue_counts",
            "groups",
            "letters",
            "total_count",
            "is_counted",
            "preview",
            "deletion",
            "inspected",
            "done_count",
            "is_running",
            "replays",
            "failed_again_of",
        )

    def _filtered(self, name: str, value: str) -> None:
        setattr(self.model, name, value or "")
        self.model.refresh()

    def _other_replay(self) -> str:
        """The chosen replay as a filter; none where it is the filter already."""
        return "" if self.model.failed_again_of else self.replay.value or ""

    def _delete(self) -> None:
        reason = self.reason.value
        self.reason.value = ""
        self.model.delete(reason)

    def _purge(self) -> None:
        typed = self.confirmation.value
        # Emptied first: a second click must be typed again.
        self.confirmation.value = ""
        self.model.purge(typed)

    def _paint(self) -> None:
        self._paint_choices()
        self._paint_rest()

    def _paint_rest(self) -> None:
        model = self.model
        self.effects.value = line(f"What a replay may do twice: {model.effects}", is_wrong=False)
        # Another queue's text filter went with it.
        if self.text.value != model.text:
            self.text.value = model.text
        self.causes.value = table(
            ("jobs", "error type", "fingerprint", "last", "example"),
            [_cause_row(group) for group in model.groups[:_CAUSES]],
            empty=f"{model.queue} has no dead letters.",
        ) + _rarer(model.cause_count)
        matching = f"{model.total_count:,}" if model.is_counted else f"at most {model.total_count:,}"
        self.letters.value = f"<b>{matching} match</b>" + table(
            ("job", "id", "failed", "error"),
            [_letter_row(letter) for letter in model.letters[:_LETTERS]],
            empty="Nothing matches the filters.",
        )  # fmt: skip
        self._paint_replays()
        self.inspected.value = block(model.inspected)
        self.preview.value = _causes_of(model.preview)
        self.replay_button.disabled = model.preview is None or model.is_running
        self.replay_button.description = f"Replay {model.preview.extent}" if model.preview else "Replay"
        self.deletion.value = _causes_of(model.deletion)
        self.delete_button.disabled = model.deletion is None
        self.delete_button.description = f"Delete {model.deletion.extent}" if model.deletion else "Delete"
        self.preview_button.disabled = model.is_running
        self.cancel_button.disabled = not model.is_running
        running = model.running
        if running is not None:
            self.progress.max = max(1, running.total_count)
        self.progress.value = min(model.done_count, self.progress.max)
        self.status.value = line(model.status, is_wrong=model.is_wrong)

    def _paint_replays(self) -> None:
        model = self.model
        self.replays.value = table(
            ("replay", "state", "done", "by", "what became of them"), [_replay_row(replay) for replay in model.replays],
            empty="No batch of this queue was replayed lately.",
        )  # fmt: skip
        known = [replay.id for replay in model.replays]
        chosen = self.replay.value if self.replay.value in known else next(iter(known), None)
        choose(self.replay, [(f"{replay.name or replay.id} ({replay.state})", replay.id) for replay in model.replays],
               chosen)  # fmt: skip
        self.stop_button.disabled = not known
        self.again_button.disabled = not known and not model.failed_again_of
        self.again_button.description = "Show all again" if model.failed_again_of else "Show what failed again"

    def _paint_choices(self) -> None:
        model = self.model
        choose(self.queue, _queues(model), model.queue)
        self.confirmation.placeholder = f"type {model.queue} to delete all"
        types = sorted({*model.error_types} | ({model.error_type} - {""}))
        marks = sorted({group.fingerprint for group in model.groups} | ({model.fingerprint} - {""}))
        ids = [letter.original_job_id for letter in model.letters[:_LETTERS]]
        # A filter whose last job left stays chosen: "any" is never chosen but by a person.
        choose(self.error_type, [("any", ""), *((name, name) for name in types)], model.error_type)
        choose(self.fingerprint, [("any", ""), *((mark[:12], mark) for mark in marks)], model.fingerprint)
        choose(
            self.job,
            [(job_id, job_id) for job_id in ids],
            self.job.value if self.job.value in ids else next(iter(ids), None),
        )


def _queues(model: DlqTriageModel) -> list[tuple[str, str]]:
    return [(f"{name} ({count:,})", name) for name, count in model.queue_counts.items()]


def _rarer(cause_count: int) -> str:
    """How many causes stand below those that are shown."""
    more = cause_count - _CAUSES
    return f"<p>and {more:,} rarer cause{'' if more == 1 else 's'}</p>" if more > 0 else ""


def _cause_row(group: DeadLetterGroup) -> tuple[str, ...]:
    last, example = f"{group.last_failed_at:%m-%d %H:%M}", short(group.example_error)
    return f"{group.count:,}", group.error_type, group.fingerprint[:12], last, example


def _letter_row(letter: DeadLetter) -> tuple[str, ...]:
    error = short(f"{letter.error_type}: {letter.error}")
    return letter.job_name, letter.original_job_id, f"{letter.failed_at:%m-%d %H:%M:%S}", error


def _causes_of(frozen: Replay | Deletion | None) -> str:
    if frozen is None:
        return ""
    rows = [(f"{cause.count:,}", cause.error_type, cause.fingerprint[:12]) for cause in frozen.causes]
    return f"<b>List {frozen.id}: {frozen.total_count:,} jobs</b>" + table(
        ("jobs", "error type", "fingerprint"), rows, empty=""
    )


def _replay_row(replay: Replay) -> tuple[str, ...]:
    done = f"{replay.done_count:,} of {replay.total_count:,}"
    return (replay.name or replay.id, replay.state, done, replay.started_by or replay.operator, replay.outcome)
