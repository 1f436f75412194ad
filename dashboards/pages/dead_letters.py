"""Dead letters: what is broken, on any queue?"""

from __future__ import annotations

from typing import Any

from dashboards.page import Page
from dashboards.shown import cause_rows
from teknav_ops.topology import TOPOLOGY


class DeadLettersPage(Page):
    """The causes of all queues' dead letters, most frequent first; each leads to its letters."""

    name = "dead_letters"
    path = "dlq"
    place = "dlq"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Dead letters"

    def load(self) -> dict[str, Any]:
        """Every queue's causes."""
        return {"causes": cause_rows(self.visit, *TOPOLOGY)}
