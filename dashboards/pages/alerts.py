"""Alerts: what is wrong now, since when, and who was told?"""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import Any

from dashboards.page import ROOT, Page, queue_path
from dashboards.visit import PAGE_SIZE
from teknav_ops.alerts.queries import ListedAlert, UndeliveredMessage
from teknav_ops.metrics.scheduler_state import SCHEDULER_TEXTS
from teknav_ops.payloads import plain
from teknav_ops.topology import TOPOLOGY


class AlertsPage(Page):
    """Open alerts, those that were, messages that were not delivered, and silences."""

    name = "alerts"
    path = "alerts"
    place = "alerts"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Alerts"

    def load(self) -> dict[str, Any]:
        """Everything about alerts, with a page of the resolved ones."""
        alerts, cursor = self.visit.sources.alerts, self.visit.cursor()
        before = None if cursor is None else plain.whole_number(plain.parse(cursor, "page"), "page", 1, 2**62)
        recent = alerts.recent(limit=PAGE_SIZE + 1, before_id=before)
        scheduler = self.visit.reads.get("scheduler", self.visit.sources.scheduler, seconds=5.0, outlives_events=True)
        return {
            "unwatched": SCHEDULER_TEXTS[scheduler],
            "open": [_row(alert) for alert in alerts.open()],
            "recent": [_row(alert) for alert in recent[:PAGE_SIZE]], "isLater": cursor is not None,
            "next": str(recent[PAGE_SIZE - 1].id) if len(recent) > PAGE_SIZE else None,
            "undelivered": [self._undelivered(message) for message in alerts.undelivered()],
            "silences": [dataclasses.asdict(silence) for silence in alerts.silences()],
        }  # fmt: skip

    def _undelivered(self, message: UndeliveredMessage) -> dict[str, Any]:
        # What a receiver answered may quote an address or a key.
        shown = None if message.error is None else self.visit.masked_text(message.error)
        return dataclasses.asdict(message) | {"error": shown}


def _row(alert: ListedAlert) -> dict[str, Any]:
    queue = alert.queue if alert.queue in TOPOLOGY else None
    return dataclasses.asdict(alert) | {
        "href": queue and queue_path(queue), "runbook": f"{ROOT}/runbook/alerts/{PurePath(alert.runbook).stem}"
    }  # fmt: skip
