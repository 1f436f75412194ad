"""Queues: is anything wrong, and where?"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from operator import itemgetter
from typing import Any, Final

from dashboards.page import ROOT, Page, dlq_path, queue_path
from teknav_ops.jobs.sketch import of_few
from teknav_ops.metrics.live import QueueStats
from teknav_ops.metrics.minutes import MinuteCounts
from teknav_ops.metrics.overview import Attention, attention
from teknav_ops.topology import TOPOLOGY

_SUMMED: Final = ("waiting", "active", "delayed", "dlq", "completed_rate", "failed_rate")
_SORTS: Final = (
    "attention",
    "name",
    "waiting",
    "active",
    "delayed",
    "failed",
    "dlq",
    "completed_rate",
    "failed_rate",
    "average",
    "p95",
)
_KEYS: Final = {"average": "avg_ms", "p95": "p95_ms"}
_ORDERS: Final = ("", "asc", "desc")
#: A queue whose jobs failed so lately is failing now.
_RECENT_MINUTES: Final = 5


class QueuesPage(Page):
    """One row per queue, totals above, and above them what needs attention first."""

    name = "queues"
    path = "queues"
    place = "queues"

    def title(self) -> str:
        """Shown in the browser's tab."""
        return "Queues"

    def shared_as(self) -> Hashable:
        """The order of the rows; everybody may see them."""
        return ("queues", self.visit.choice("sort", _SORTS), self.visit.choice("order", _ORDERS))

    def load(self) -> dict[str, Any]:
        """QueueListTable: every queue, and what needs attention."""
        sort = self.visit.choice("sort", _SORTS)
        sources, reads = self.visit.sources, self.visit.reads
        stats = reads.get("now", sources.now)
        at_ms = max(now.last_updated_at_ms for now in stats.values())
        hour = reads.get("hour", lambda: sources.last_hour(at_ms), seconds=10.0, outlives_events=True)
        scheduler = reads.get("scheduler", sources.scheduler, seconds=5.0, outlives_events=True)
        rows = [_row(now, hour[name], at_ms) for name, now in stats.items()]
        noted = attention(stats, scheduler=scheduler)
        wanting = [dataclasses.asdict(about) | {"href": _where(about.queue, about.kind)}
                   for about in noted]  # fmt: skip
        is_down = self.visit.choice("order", _ORDERS) == "desc" if self.visit.filter("order") else sort != "name"
        ordered = _by_attention(rows, noted) if sort == "attention" else _ordered(rows, _KEYS.get(sort, sort), is_down)
        return {
            "queues": ordered, "attention": wanting, "totals": _totals(rows), "sort": sort,
            "order": "desc" if is_down else "asc",
        }  # fmt: skip


def _by_attention(rows: list[dict[str, Any]], noted: list[Attention]) -> list[dict[str, Any]]:
    """The queue on fire first. Among those alike it is by the size of the trouble, and then the catalogue's order:
    rows do not change places with each job.
    """
    severity = {about.queue: about.severity for about in reversed(noted) if about.queue}

    def rank(row: dict[str, Any]) -> tuple[int, int]:
        worst = 0 if severity.get(row["name"]) == "bad" else 1
        if worst and not any(row["hourFailed"][-_RECENT_MINUTES:]):
            worst = 2 if severity.get(row["name"]) or row["dlq"] else 3
        return worst, -len(str(row["dlq"] + row["waiting"]))

    return sorted(rows, key=rank)


def _ordered(rows: list[dict[str, Any]], key: str, is_down: bool) -> list[dict[str, Any]]:
    """Those without a value come last in both directions."""
    known = [row for row in rows if row[key] is not None]
    return sorted(known, key=itemgetter(key), reverse=is_down) + [row for row in rows if row[key] is None]


def _where(queue: str | None, kind: str) -> str:
    if kind == "dead-letters" and queue is None:
        return f"{ROOT}/dlq"
    if queue is None:
        return "/dashboard/owner/workers"
    return dlq_path(queue) if kind == "dead-letters" else queue_path(queue)


def _row(now: QueueStats, hour: list[MinuteCounts], at_ms: int) -> dict[str, Any]:
    last = at_ms // 60_000
    finished, failed = [0] * 60, [0] * 60
    for counts in hour:
        position = 59 - (last - counts.minute)
        if 0 <= position < 60:
            finished[position], failed[position] = counts.finished, counts.failed
    return {
        "name": now.queue, "purpose": TOPOLOGY[now.queue].purpose, "isPaused": now.is_paused,
        "waiting": now.waiting + now.paused, "active": now.active, "delayed": now.delayed, "failed": now.failed,
        "dlq": now.dlq, "workers": now.workers, "completed_rate": now.completed_rate,
        "failed_rate": now.failed_rate, "avg_ms": now.avg_duration_ms,
        "p95_ms": now.p95_duration_ms, "runs": now.runs, "ofFew": of_few(now.runs),
        "hour": finished, "hourFailed": failed, "href": queue_path(now.queue), "dlqHref": dlq_path(now.queue),
    }  # fmt: skip


def _totals(rows: list[dict[str, Any]]) -> dict[str, Any]:
    summed = {key: sum(row[key] for row in rows) for key in _SUMMED}
    return summed | {"workers": max((row["workers"] for row in rows), default=0)}
