"""Triage of one queue's dead letters: filter, inspect, preview a frozen list, replay or delete it, purge.

A replay or a deletion acts on what was previewed and never on the filters: those change meaning while jobs leave.
"""

from __future__ import annotations

import json
import threading
from typing import Any, Final

import param

from teknav_ops.errors import WrongState
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.jobs.dead_letter import DeadLetter
from teknav_ops.jobs.dead_letter_causes import DeadLetterGroup
from teknav_ops.jobs.dead_letter_queries import DeadLetterFilter
from teknav_ops.triage.view_models.acting import Bench, Door
from teknav_ops.triage.view_models.dlq_deletion import DlqDeletionModel

#: Rows shown; a batch may be larger.
PAGE_SIZE: Final = 50
CAUSES_LISTED: Final = 100
_CANCEL_SECONDS: Final = 5.0
_REPLAYS_SHOWN: Final = 8


class DlqTriageModel(DlqDeletionModel):
    """One person's triage. Every action ends in `status`; `is_wrong` says that it tells of an error."""

    queue_counts: Any = param.Dict(default={}, doc="How many dead letters each queue has.")
    error_type = param.String(default="", doc="Filter; empty: any.")
    fingerprint = param.String(default="", doc="Filter; empty: any.")
    text = param.String(default="", doc="Filter: what error or payload contain.")
    failed_again_of = param.String(default="", doc="Filter: only what failed again after this batch replay.")
    order: Any = param.Selector(default="newest", objects=["newest", "oldest"], doc="Which failure comes first.")
    rate_per_second = param.Number(default=50.0, bounds=(0.05, 10_000.0), doc="How fast they are let go.")
    groups: Any = param.List(default=[], item_type=DeadLetterGroup, doc="The most frequent causes.")
    cause_count = param.Integer(default=0, doc="How many causes there are.")
    error_types: Any = param.List(default=[], item_type=str, doc="All there are among the queue's dead letters.")
    letters: Any = param.List(default=[], item_type=DeadLetter, doc="The first that match the filters.")
    total_count = param.Integer(default=0, doc="How many match; with `is_counted` False, the most that can.")
    is_counted = param.Boolean(default=True, doc="All that match were counted.")
    inspected = param.String(default="", doc="One dead letter, whole.")
    replays: Any = param.List(
        default=[], item_type=Replay, doc="Those that run, whoever started them, then the newest."
    )
    done_count = param.Integer(default=0, doc="How many of the running replay are done.")
    is_running = param.Boolean(default=False, doc="A replay of this model is under way.")

    def __init__(self, bench: Bench, queue: str = "", **values: Any) -> None:
        """Without a queue, on the one that has most."""
        counts = _letter_counts(bench)
        name = bench.topology[queue].name if queue else max(counts, key=counts.__getitem__)
        super().__init__(queue=name, queue_counts=counts, **values)  # type: ignore[no-untyped-call]
        self._bench = bench
        self._taking = threading.Lock()
        self._stopped = threading.Event()
        self._running: Replay | None = None
        self._thread: threading.Thread | None = None

    # Looking -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read causes and entries again."""
        self.attempt(self._refresh)

    def _refresh(self) -> None:
        page = self._bench.dead_letters.page(
            self.queue, where=self._filter(), limit=PAGE_SIZE, newest_first=self.order == "newest"
        )
        causes = self._bench.dead_letters.causes(self.queue, limit=CAUSES_LISTED)
        running = self._bench.replays.running_of(self.queue)
        newest = self._bench.replays.page(queue=self.queue, limit=_REPLAYS_SHOWN).items
        ids = {replay.id for replay in running}
        self.param.update(
            replays=[*running, *(replay for replay in newest if replay.id not in ids)],
            queue_counts=_letter_counts(self._bench),
            groups=causes.groups,
            error_types=sorted(causes.letters_by_type),
            cause_count=causes.count,
            letters=list(page.items),
            total_count=page.total_count,
            is_counted=page.is_counted,
        )

    def _filter(self) -> DeadLetterFilter:
        return DeadLetterFilter(
            error_type=self.error_type or None, fingerprint=self.fingerprint or None, text=self.text.strip() or None,
            replay=self.failed_again_of or None,
        )  # fmt: skip

    def choose_queue(self, queue: str) -> None:
        """Look at another queue, without filters; what was previewed of the last one is let go."""
        self.attempt(lambda: self._choose_queue(queue))

    def _choose_queue(self, queue: str) -> None:
        name = self._bench.topology[queue].name
        with self._taking:
            if self.is_running:
                self.say("A replay is under way: wait for its end, or cancel it.")
                return
            self.param.update(
                queue=name,
                error_type="",
                fingerprint="",
                text="",
                failed_again_of="",
                inspected="",
                preview=None,
                deletion=None,
            )
        self._refresh()
        self.say(f"{self.queue_counts.get(name, 0):,} dead letters on {name}.")

    def inspect(self, job_id: str) -> None:
        """Show one dead letter, whole."""
        self.attempt(lambda: self._inspect(job_id))

    def _inspect(self, job_id: str) -> None:
        letter = self._bench.dead_letters.get(self.queue, job_id)
        payload = json.dumps(letter.payload, indent=2, ensure_ascii=False)
        self.inspected = (
            f"{letter.job_name} {job_id}\nfailed {letter.failed_at:%Y-%m-%d %H:%M:%S} UTC after {letter.attempts_made} "
            f"attempts · trace {letter.trace_id}\n"
            f"{letter.error_type}: {letter.error}\n\npayload\n{payload}\n\n{letter.stack}"
        )

    # Replaying -----------------------------------------------------------------------------------

    @property
    def effects(self) -> str:
        """What a replay on this queue may do twice."""
        return self._bench.topology[self.queue].effects

    def preview_replay(self) -> None:
        """Freeze what matches the filters now; nothing is replayed yet."""
        self.attempt(self._preview)

    def _preview(self) -> None:
        frozen = self._bench.control.preview_replay(self.queue, self._filter(), limit=self.limit)
        with self._taking:
            self.preview = frozen if frozen.total_count else None
        self.say(f"{frozen.extent} are on the list {frozen.id}; nothing is replayed yet.")

    def replay(self) -> None:
        """Replay what was previewed, in a thread. A second call finds no preview and does nothing."""
        self.attempt(self._replay)

    def _replay(self) -> None:
        door = self._bench.control
        with self._taking:
            frozen = self.preview
            if self.is_running or frozen is None:
                self.say("A replay is under way." if self.is_running else "Nothing is previewed: preview first.")
                return
            self.param.update(preview=None, is_running=True, done_count=0)
            self._running = frozen
            self._stopped.clear()
        rate = self.rate_per_second
        self.say(f"Replaying {frozen.total_count:,} jobs, {rate:g} per second.")

        def run() -> None:
            self.attempt(lambda: self._run(door, frozen, rate), always=self._ended)

        self._thread = threading.Thread(target=run, name=f"replay-{frozen.id}", daemon=True)
        self._thread.start()

    def _run(self, door: Door, frozen: Replay, rate: float) -> None:
        try:
            replay = door.run_replay(
                frozen.queue, frozen.id, rate_per_second=rate, on_progress=self._progress, stopped=self._stopped
            )
        except WrongState:
            if not self._stopped.is_set():
                raise
            # It was cancelled before it had begun.
            replay = frozen
        self._finish(replay)

    def _progress(self, replay: Replay) -> None:
        self.done_count = replay.done_count

    def _finish(self, replay: Replay) -> None:
        self.done_count = replay.done_count
        words = "Replayed" if replay.state == "finished" else "Stopped after"
        self._refresh()
        self.say(f"{words} {replay.replayed_count:,} of {replay.total_count:,} jobs: {replay.outcome}.")

    def _ended(self) -> None:
        with self._taking:
            self._running = None
            self.is_running = False

    @property
    def running(self) -> Replay | None:
        """The list that is being replayed."""
        return self._running

    def cancel(self) -> None:
        """Stop the running replay; what was replayed stays replayed."""
        self.attempt(self._cancel)

    def _cancel(self) -> None:
        running = self._running
        if running is None:
            self.say("No replay is under way.")
            return
        self._stopped.set()
        self._bench.control.abort_replay(running.queue, running.id)
        self.wait(_CANCEL_SECONDS)

    def stop(self, replay_id: str) -> None:
        """Stop a batch replay of this queue, whoever started it and whichever process runs it."""
        self.attempt(lambda: self._stop(replay_id))

    def _stop(self, replay_id: str) -> None:
        stopped = self._bench.control.abort_replay(self.queue, replay_id)
        self._refresh()
        self.say(f"Stopped {replay_id} after {stopped.done_count:,} of {stopped.total_count:,}: {stopped.outcome}.")

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the running replay has ended; False when it has not by then."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)
        return not self.is_running


def _letter_counts(bench: Bench) -> dict[str, int]:
    return {name: counts.dlq for name, counts in bench.jobs.all_counts().items()}
