"""What the engine writes down of what it did, in plain Python: the audit trail and the counters."""

from __future__ import annotations

from collections import Counter
from typing import Final

from tests.model.records import Entry, Job

BUCKET: Final = "b41"


class Trail:
    """The audit entries, the totals and the minutes of one queue, and its clock."""

    def __init__(self, now_ms: int) -> None:
        self.now = now_ms
        self.audit: list[Entry] = []
        self.audited_since: int | None = None
        self.totals: Counter[str] = Counter()
        self.minutes: dict[int, Counter[str]] = {}

    def _note(
        self, action: str, job: Job | None, actor: str, *, tries: int | str = "", with_wait: bool = False
    ) -> None:
        if self.audited_since is None:
            self.audited_since = self.now
        delivery = "" if tries == "" or job is None or not with_wait else str(job.delivery)
        waited = str(job.waited) if job is not None and with_wait else ""
        self.audit.append((action, job.id if job else "", actor, str(tries), delivery, waited))

    def _count(self, field: str, by: int = 1, *, totals_only: bool = False) -> None:
        self.totals[field] += by
        if not totals_only:
            self.minutes.setdefault(self.now // 60_000, Counter())[field] += by

    def _count_run(self, job: Job, outcome: str, duration_ms: float, bucket: str = BUCKET) -> None:
        self._count(f"{job.name}|{outcome}")
        if job.replays and outcome != "retried":
            self._count(f"{job.name}|{outcome}_again")
        if bucket:
            kind = "" if outcome == "completed" else "failed:"
            self._count(f"{job.name}|{kind}{bucket}")
            self._count(f"{job.name}|{kind}sum_us", int(duration_ms * 1000))
            self._count(f"{job.name}|waited_ms", job.waited)
