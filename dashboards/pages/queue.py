"""One queue: what is on it, what failed, and how fast is it?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from dashboards.page import ROOT, Crumb, Outcome, Page, action, dlq_path, queue_path, short
from dashboards.pages.job_actions import JobActions
from dashboards.pages.queue_metrics import OUTCOMES, RANGES, load_metrics
from dashboards.shown import cause_rows, job_row, paged
from dashboards.visit import PAGE_SIZE
from teknav_ops.access.policy import Operation
from teknav_ops.errors import CorruptRecord, InvalidPayload
from teknav_ops.jobs.paging import Window
from teknav_ops.jobs.queries import SORTED_BY, JobFilter
from teknav_ops.jobs.states import JobState
from teknav_ops.metrics.live import QueueStats
from teknav_ops.payloads import plain
from teknav_ops.spans import parse_moment
from teknav_ops.topology import TOPOLOGY, Queue

_TABS: Final = ("jobs", "failed", "dlq", "metrics")
#: What is shown first of a list that can be sorted, and the other way: what is due soonest, what ended last.
_ORDERS: Final = {"due_at": ("oldest", "newest"), "finished_at": ("newest", "oldest")}
_STATES: Final = ("waiting", "active", "delayed", "completed", "cancelled", "failed")


class QueuePage(JobActions, Page):
    """QueueDetailTabs: jobs by state, failed jobs, dead letters by cause, metrics."""

    name = "queue"
    path = "queues/{queue}"
    place = "queues"
    _first_state: str | None = None

    @property
    def queue(self) -> Queue:
        """Raises UnknownQueue."""
        return TOPOLOGY[self.visit.route["queue"]]

    def title(self) -> str:
        """Shown in the browser's tab."""
        return self.visit.route["queue"]

    def crumbs(self) -> list[Crumb]:
        """The way here."""
        return [("Queues", f"{ROOT}/queues"), (self.title(), None)]

    def concerns(self, event: Any) -> bool:
        """Events of this queue, and of all."""
        return getattr(event, "queue", None) in (None, self.title())

    def load(self) -> dict[str, Any]:
        """The queue, and what its open tab shows."""
        queue = self.queue
        tab = self.visit.choice("tab", _TABS)
        state = JobState.FAILED if tab == "failed" else self._state(queue)
        shown: dict[str, Any] = {"queue": self._facts(queue), "tab": tab, "state": state.value}
        if tab in ("jobs", "failed"):
            shown["list"] = self._jobs(queue, state)
        elif tab == "dlq":
            shown["causes"] = cause_rows(self.visit, queue.name)
        else:
            chosen, outcome = self.visit.choice("range", RANGES), self.visit.choice("outcome", OUTCOMES)
            shown["metrics"] = load_metrics(self.visit, queue.name, chosen, outcome)
        return shown

    def _state(self, queue: Queue) -> JobState:
        """The state asked for; else the first that any job is in, and that stays: a list must not change under the
        reader's eyes.
        """
        if self.visit.filter("state"):
            return JobState(self.visit.choice("state", _STATES))
        if self._first_state is None:
            counts = self.visit.sources.jobs.counts(queue.name)
            self._first_state = next((name for name in _STATES[:4] if getattr(counts, name)), _STATES[0])
        return JobState(self._first_state)

    def _now(self) -> QueueStats:
        now = self.visit.reads.get("now", self.visit.sources.now).get(self.queue.name)
        if now is None:
            raise CorruptRecord(f"queue: what Redis holds of {self.queue.name} is damaged; the log says which key")
        return now

    def _facts(self, queue: Queue) -> dict[str, Any]:
        sources = self.visit.sources
        now = self._now()
        counts = self.visit.reads.get(("counts", queue.name), lambda: sources.jobs.counts(queue.name), queue=queue.name)
        since = counts.paused_since_ms
        limit = queue.rate_limit
        standard = {
            "concurrency": queue.concurrency, "global_concurrency": queue.global_concurrency,
            "rate_count": limit and limit.count, "rate_period_ms": limit and limit.period_ms,
        }  # fmt: skip
        changed = {name: getattr(counts, name) for name in standard}
        return {
            "name": queue.name, "purpose": queue.purpose, "dlqHref": dlq_path(queue.name),
            "href": queue_path(queue.name),
            "isPaused": counts.is_paused, "pausedSince": since and datetime.fromtimestamp(since / 1000, UTC),
            "waiting": counts.waiting, "active": counts.active, "delayed": counts.delayed, "failed": counts.failed,
            "completed": counts.completed, "cancelled": counts.cancelled, "dlq": counts.dlq,
            "completedTotal": counts.completed_total, "failedTotal": counts.failed_total,
            "failedKept": queue.failed_kept,
            "workers": counts.workers, "completedRate": now.completed_rate,
            "failedRate": now.failed_rate, "runs": now.runs, "errorRate": now.error_rate,
            "p50Ms": now.p50_duration_ms, "p95Ms": now.p95_duration_ms, "oldestMs": now.oldest_waiting_age_ms,
            "jobNames": list(queue.jobs),
            "schemas": {name: model.model_json_schema() for name, model in queue.jobs.items()},
            "standard": standard, "limits": {name: changed[name] or standard[name] for name in standard},
        }  # fmt: skip

    def _jobs(self, queue: Queue, state: JobState) -> dict[str, Any]:
        visit = self.visit
        cursor, since = visit.cursor(), visit.filter("since")
        where = JobFilter(
            name=visit.filter("name"), trace_id=visit.filter("trace"), text=visit.searched_text(),
            window=Window(parse_moment(since, name="since") if state is not JobState.WAITING else None),
        )  # fmt: skip
        by = SORTED_BY.get(state)
        order = None if by is None else visit.choice("order", _ORDERS[by])
        sort = None if by is None else by if order == "oldest" else f"-{by}"
        page = visit.sources.jobs.page(queue.name, state, where=where, sort=sort, cursor=cursor, limit=PAGE_SIZE)
        return {
            "jobs": [job_row(visit, job) for job in page.items], **paged(page, cursor),
            "isFiltered": bool(where.fields) or where.window != Window(), "note": None, "name": where.name,
            "text": where.text, "trace": where.trace_id, "since": since, "order": order,
        }  # fmt: skip

    @action(Operation.MANAGE)
    def configure(
        self, queue: str, concurrency: int, global_concurrency: int, rate_count: int, rate_period_ms: int
    ) -> Outcome:
        """Change limits; 0 puts the catalogue's value back."""
        changed = self.visit.control.configure(
            queue, concurrency=concurrency, global_concurrency=global_concurrency, rate_count=rate_count,
            rate_period_ms=rate_period_ms if rate_count else 0,
        )  # fmt: skip
        return Outcome(f"The limits of {queue} are changed." if changed else "The limits were so already.")

    @action(Operation.ENQUEUE)
    def enqueue(
        self, queue: str, job: str, payload: dict[str, str], delay_seconds: float, idempotency_key: str
    ) -> Outcome:
        """Create a job of fields that are each a JSON text; what does not fit comes back as problems by field."""
        # A browser would make null of 1e999, round long numbers, and drop the first of two equal keys.
        data = {name: plain.parse(text, name) for name, text in payload.items()}
        try:
            accepted = self.visit.sources.producer(self.visit.operator).enqueue(
                queue, job, data, delay=delay_seconds or None, idempotency_key=idempotency_key or None
            )
        except InvalidPayload as error:
            if not error.fields:
                raise
            return Outcome(data={"problems": dict(error.fields)})
        text = (
            f"{job} {short(accepted.job_id)} is created."
            if accepted.is_new
            else "The key was used: this is its first job."
        )
        return Outcome(text, data={"job_id": accepted.job_id})
