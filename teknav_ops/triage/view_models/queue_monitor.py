"""Watching queues: their numbers, refreshed by a timer that survives an outage and ends with its watcher."""

from __future__ import annotations

import threading
from typing import Any, Final

import param

from teknav_ops.metrics.live import QueueStats
from teknav_ops.triage.view_models.acting import Bench
from teknav_ops.triage.view_models.speaking import SpeakingModel

EVERY_SECONDS: Final = 5.0


class QueueMonitorModel(SpeakingModel):
    """All queues as of now; one of them looked at closer."""

    rows: Any = param.List(default=[], item_type=QueueStats, doc="Every queue's numbers, in the catalogue's order.")
    selected = param.String(doc="The queue that is looked at.")
    last_hour: Any = param.Parameter(default=None, doc="Its numbers minute by minute, as `bench.history` gives them.")
    asked = param.String(default="", doc="`pause` or `resume`, while it waits for its confirmation.")
    is_watching = param.Boolean(default=False, doc="The timer runs.")
    is_stale = param.Boolean(default=False, doc="The last refresh failed: what is shown is older.")

    def __init__(self, bench: Bench, *, selected: str = "", **values: Any) -> None:
        first = bench.topology[selected].name if selected else next(iter(bench.topology))
        super().__init__(selected=first, **values)  # type: ignore[no-untyped-call]
        self._bench = bench
        self._taking = threading.Lock()
        self._is_over = threading.Event()

    # Looking -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Read all numbers again; during an outage the old ones stay and are marked."""
        self.attempt(self._refresh)

    def _refresh(self) -> None:
        try:
            rows = list(self._bench.queue_stats().values())
            last_hour = self._bench.history(self.selected, hours=1, step_minutes=1)
        except Exception:
            self.is_stale = True
            raise
        was_stale = self.is_stale
        self.param.update(rows=rows, last_hour=last_hour, is_stale=False)
        # What an action said, its error too, stays until the person does something else.
        if was_stale or not self.status:
            self.say("Watching.")

    def select(self, queue: str) -> None:
        """Look at another queue."""
        self.param.update(selected=self._bench.topology[queue].name, asked="")
        self.refresh()

    @property
    def current(self) -> QueueStats | None:
        """The numbers of the selected queue."""
        return next((row for row in self.rows if row.queue == self.selected), None)

    # Watching ------------------------------------------------------------------------------------

    def watch(self, every_seconds: float = EVERY_SECONDS) -> None:
        """Refresh from now on, in a thread that goes with the process or at `stop`."""
        if self.is_watching:
            return
        # A signal of its own: a watcher that was told to stop a moment ago must not take this one's as permission.
        self._is_over = threading.Event()
        self.is_watching = True
        arguments = (self._is_over, every_seconds)
        threading.Thread(target=self._watch, args=arguments, name="queue-monitor", daemon=True).start()

    def stop(self) -> None:
        """Refresh no more."""
        self._is_over.set()
        self.is_watching = False

    def _watch(self, is_over: threading.Event, every_seconds: float) -> None:
        while not is_over.wait(every_seconds):
            self.refresh()

    # Acting --------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Ask to pause the selected queue, or to let it go on; nothing is done before `confirm`."""
        current = self.current
        if current is None:
            self.say("Refresh first.")
            return
        self.asked = "resume" if current.is_paused else "pause"
        self.say(f"Confirm to {self.asked} {self.selected}. Running jobs finish.")

    def confirm(self) -> None:
        """Do what was asked, once."""
        self.attempt(self._confirm)

    def _confirm(self) -> None:
        with self._taking:
            action, queue = self.asked, self.selected
            self.asked = ""
        if not action:
            self.say("Nothing waits for a confirmation.")
            return
        door = self._bench.control
        changed = door.pause(queue) if action == "pause" else door.resume(queue)
        self._refresh()
        self.say(f"{queue} {'is' if changed else 'was already'} {'paused' if action == 'pause' else 'resumed'}.")
