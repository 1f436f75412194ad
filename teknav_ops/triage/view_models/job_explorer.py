"""Exploring jobs: find by id, trace or filter, open one with its story, and act on it after a confirmation."""

from __future__ import annotations

import threading
from typing import Any, Final

import param

from teknav_ops.errors import UnknownJob
from teknav_ops.jobs.queries import SORTED_BY, JobFilter
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import JobState
from teknav_ops.triage.view_models.acting import Bench, Told
from teknav_ops.triage.view_models.speaking import SpeakingModel

PAGE_SIZE: Final = 20
#: What may be done to a job in a state; the door checks again.
ACTIONS: Final[dict[JobState, tuple[str, ...]]] = {
    JobState.FAILED: ("retry",), JobState.DELAYED: ("promote", "cancel"), JobState.WAITING: ("cancel",),
    JobState.COMPLETED: ("run_again",), JobState.CANCELLED: ("run_again",),
}  # fmt: skip
_DONE: Final = {
    "retry": "waits again",
    "promote": "waits to run now",
    "cancel": "is cancelled",
    "run_again": "runs again",
}


class JobExplorerModel(SpeakingModel):
    """One person's look at jobs."""

    queue = param.String(doc="Whose jobs are listed.")
    state: Any = param.Selector(default="failed", objects=[state.value for state in JobState], doc="In which state.")
    job_name = param.String(default="", doc="Filter; empty: any.")
    text = param.String(default="", doc="Filter: what the payload contains.")
    order: Any = param.Selector(
        default="", objects=["", "oldest", "newest"], doc="Which comes first; empty: what is due soonest or ended last."
    )
    search = param.String(default="", doc="A job id or a trace id; finds it on any queue.")
    cursor = param.String(default=None, allow_None=True, doc="After what the page begins; None at the beginning.")
    rows: Any = param.List(default=[], item_type=JobRecord, doc="The page.")
    next_cursor = param.String(default=None, allow_None=True, doc="After what the next page begins; None at the end.")
    total_count = param.Integer(default=0, doc="Jobs in this state, before filters.")
    opened: Any = param.ClassSelector(default=None, class_=JobRecord, doc="The job that is looked at.")
    story: Any = param.Parameter(default=None, doc="What happened to it (`acting.Told`).")
    asked = param.String(default="", doc="The action that waits for its confirmation.")

    def __init__(self, bench: Bench, *, queue: str = "", search: str = "", **values: Any) -> None:
        first = bench.topology[queue].name if queue else next(iter(bench.topology))
        super().__init__(queue=first, search=search, **values)  # type: ignore[no-untyped-call]
        self._bench = bench
        #: Two clicks must not both find the same confirmation.
        self._taking = threading.Lock()

    # Looking -------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Find what is searched for; without a search list the page."""
        self.attempt(self._find if self.search.strip() else self._list)

    def next_page(self) -> None:
        """Go on, where there is more."""
        if self.next_cursor is not None:
            self.cursor = self.next_cursor
            self.attempt(self._list)

    def first_page(self) -> None:
        """Back to the beginning."""
        self.cursor = None
        self.attempt(self._list)

    def _list(self) -> None:
        where = JobFilter(name=self.job_name or None, text=self.text.strip() or None)
        page = self._bench.jobs.page(
            self.queue, JobState(self.state), where=where, sort=self._sort, cursor=self.cursor, limit=PAGE_SIZE
        )
        self.param.update(rows=list(page.items), next_cursor=page.next_cursor, total_count=page.total_count)
        self.say(f"{len(page.items)} jobs shown of {page.total_count:,} that are {self.state} on {self.queue}.")

    @property
    def can_be_sorted(self) -> bool:
        """Whether jobs in this state can be listed both ways."""
        return JobState(self.state) in SORTED_BY

    @property
    def _sort(self) -> str | None:
        by = SORTED_BY.get(JobState(self.state))
        return None if by is None or not self.order else by if self.order == "oldest" else f"-{by}"

    def _find(self) -> None:
        told = self._bench.story(self.search.strip())
        self.param.update(rows=list(told.records), next_cursor=None, total_count=len(told.records))
        if len(told.records) == 1:
            self.state = told.records[0].state.value
            self._show(told.records[0], told)
        else:
            self.param.update(opened=None, story=told, asked="")
        self.say(told.words.replace("**", ""))

    def open(self, job_id: str) -> None:
        """Look at one job of the page."""
        self.attempt(lambda: self._open(self._queue_of(job_id), job_id))

    def _open(self, queue: str, job_id: str) -> None:
        record = self._bench.jobs.get(queue, job_id)
        self._show(record, self._bench.story(job_id))
        self.say(f"{record.queue} {record.name} {record.id} is {record.state.value}.")

    def _show(self, record: JobRecord, told: Told) -> None:
        # The boxes show where the job is: a search finds it on any queue.
        is_other = record.queue != self.queue
        self.param.update(
            queue=record.queue, opened=record, story=told, asked="", **({"job_name": ""} if is_other else {})
        )

    def _queue_of(self, job_id: str) -> str:
        for row in self.rows:
            if row.id == job_id:
                return str(row.queue)
        raise UnknownJob(f"job: {job_id!r} is not on this page; refresh and choose again")

    # Acting --------------------------------------------------------------------------------------

    @property
    def actions(self) -> tuple[str, ...]:
        """What may be done to the opened job."""
        return ACTIONS.get(self.opened.state, ()) if self.opened is not None else ()

    def ask(self, action: str) -> None:
        """Name an action; nothing is done before `confirm`."""
        if self.opened is None or action not in self.actions:
            self.say(
                "Open a job first." if self.opened is None else f"A job that is {self.opened.state} cannot do that."
            )
            return
        self.asked = action
        effects = self._bench.topology[self.opened.queue].effects
        warning = f" What a second run may do twice: {effects}" if action in ("retry", "run_again") and effects else ""
        self.say(f"Confirm to {action.replace('_', ' ')} {self.opened.id}.{warning}")

    def confirm(self) -> None:
        """Do what was asked, once; a second call finds nothing to confirm."""
        self.attempt(self._confirm)

    def _confirm(self) -> None:
        with self._taking:
            action, job = self.asked, self.opened
            self.asked = ""
        if not action or job is None:
            self.say("Nothing waits for a confirmation.")
            return
        made = getattr(self._bench.control, action)(job.queue, job.id)
        self._open(job.queue, job.id)
        self.say(f"{job.id} {_DONE[action]}{f' as {made.job_id}' if made else ''}.")
