"""Replays: which batches of dead letters were run again, by whom, and what came of it?"""

from __future__ import annotations

from typing import Any

from dashboards.page import Outcome, Page, action
from dashboards.shown import paged, replay_row
from dashboards.visit import PAGE_SIZE
from teknav_ops.access.policy import Operation
from teknav_ops.topology import TOPOLOGY


class ReplaysPage(Page):
    """Batch replays of all queues, newest first, with progress."""

    name = "replays"
    path = "replays"
    place = "replays"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Replays"

    def load(self) -> dict[str, Any]:
        """A page of batch replays."""
        queue, cursor = self.visit.filter("queue"), self.visit.cursor()
        page = self.visit.sources.replays.page(queue=queue, cursor=cursor, limit=PAGE_SIZE)
        return {
            "replays": [replay_row(replay) for replay in page.items], "queues": list(TOPOLOGY), "queue": queue,
            **paged(page, cursor),
        }  # fmt: skip

    @action(Operation.ACT)
    def start(self, queue: str, replay_id: str, rate: float | None) -> Outcome:
        """Let a frozen list be replayed."""
        replay = self.visit.control.start_replay(queue, replay_id, rate_per_second=rate)
        return Outcome(f"{replay.name or 'The replay'} of {replay.extent} has begun.")

    @action(Operation.ACT)
    def abort(self, queue: str, replay_id: str) -> Outcome:
        """Stop a batch replay."""
        replay = self.visit.control.abort_replay(queue, replay_id)
        return Outcome(f"Stopped after {replay.replayed_count:,} jobs; they stay replayed.")
