"""What pages read: this process's services, and the questions that pages put to them."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import Operator
from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.api.search import JobSearch
from teknav_ops.api.services import Services
from teknav_ops.audit.story import Story, story
from teknav_ops.audit.trail import AuditTrail
from teknav_ops.control import Control
from teknav_ops.errors import NoSnapshot, NotAllowed
from teknav_ops.jobs.record import JobRecord
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.metrics.overview import read_last_hour, read_now
from teknav_ops.metrics.scheduler_state import read_scheduler
from teknav_ops.platform.webhook_endpoints import Attempt, attempts_of_job
from teknav_ops.producer import Producer
from teknav_ops.redis_state import keys
from teknav_ops.replays import Replays

if TYPE_CHECKING:
    import pandas as pd

    from teknav_ops.metrics.live import QueueStats
    from teknav_ops.metrics.minutes import MinuteCounts
    from teknav_ops.metrics.scheduler_state import SchedulerState

#: What Redis itself remembers.
_LIVE: Final = timedelta(hours=24)


class Sources:
    """One per process; thread-safe. Nothing here writes, but for the two doors at the end."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.topology = services.topology
        self.client = services.client
        self.jobs = services.jobs
        self.dead_letters = services.dead_letters
        self.replays = Replays(services.client, services.dead_letters, services.topology)
        self.trail = AuditTrail(services.database)
        self.alerts = AlertQueries(services.database, services.client)
        self.workers = WorkerQueries(services.client, services.topology)
        self.search = JobSearch(services.client, services.database, services.topology)

    def find_jobs(self, text: str) -> list[tuple[str, str, JobRecord | None]]:
        """Where jobs with this id or of this trace are or were, with their records where they are kept."""
        places = self.search.places(text)
        return [(*place, record) for place, record in zip(places, self.search.records(places), strict=True)]

    def now(self) -> dict[str, QueueStats]:
        """Every queue's numbers as of this instant."""
        return read_now(self.client, self.topology)

    def last_hour(self, at_ms: int) -> dict[str, list[MinuteCounts]]:
        """What happened in each of the last sixty minutes."""
        return read_last_hour(self.client, self.topology, at_ms)

    def scheduler(self) -> SchedulerState:
        """Whether a scheduler publishes, or is about to."""
        return read_scheduler(self.client, self.topology)

    def story(self, job_or_trace: str) -> Story:
        """Everything the audit trail says about a job or a trace."""
        return story(self.services.database, self.client, self.topology, job_or_trace)

    def deliveries(self, job_id: str) -> list[Attempt]:
        """What receivers of webhooks answered to a job."""
        return attempts_of_job(self.services.database, job_id)

    def history(self, queue: str, window: timedelta, step: timedelta, outcome: RunOutcome) -> tuple[pd.DataFrame, str]:
        """A queue's time series with durations of the runs of an outcome, and what it is as of."""
        from teknav_ops.metrics.history import history
        from teknav_ops.snapshots.open import open_snapshot

        if window <= _LIVE:
            return history(queue, window, step, client=self.client, outcome=outcome), "live, from Redis"
        try:
            with open_snapshot(self.services.settings) as snapshot:
                frame = history(queue, window, step, client=self.client, snapshot=snapshot, outcome=outcome)
                return frame, f"the last day live; older from the snapshot of {snapshot.as_of:%Y-%m-%d %H:%M} UTC"
        except NoSnapshot:
            frame = history(queue, _LIVE, step, client=self.client, outcome=outcome)
            return frame, "the last day only: there is no snapshot yet. The scheduler makes one every minute."

    def leader(self) -> dict[str, Any] | None:
        """Which scheduler leads; None when none does."""
        holder = self.client.get(keys.lease("scheduler"))
        return (
            None if not holder else {"holder": holder, "term": int(self.client.get(keys.lease_term("scheduler")) or 0)}
        )

    def current(self, identity: Identity) -> Identity | None:
        """What a visitor is now; None when they are let in no more."""
        return self.services.entrance.current(identity)

    def note_refusal(self, identity: Identity, error: NotAllowed, **where: str) -> None:
        """Write down that a visitor asked for what they have no right to."""
        self.services.entrance.refusals.note(identity, error, **where)

    def control(self, operator: Operator) -> Control:
        """The operators' door, under this operator's name."""
        return self.services.control(operator)

    def producer(self, operator: Operator) -> Producer:
        """Enqueueing, under this operator's name."""
        return self.services.producer(operator)

    @cached_property
    def settings(self) -> Any:
        """This process's settings."""
        return self.services.settings
