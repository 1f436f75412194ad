"""Workbench: one system's numbers, history and operations, for a person at a notebook."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.policy import SOME_QUEUE, Operation, Operator, local_operator
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import NotAllowed, RedisUnavailable
from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.metrics.history import history, is_in_redis
from teknav_ops.metrics.live import QueueStats
from teknav_ops.metrics.overview import attention, read_now
from teknav_ops.metrics.scheduler_state import read_scheduler
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.replays import Replays
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.snapshots.open import Snapshot, open_snapshot
from teknav_ops.spans import span_of
from teknav_ops.storage.database import Database
from teknav_ops.topology import TOPOLOGY, Queue, Topology
from teknav_ops.triage import from_snapshot
from teknav_ops.triage.regression import Regression
from teknav_ops.triage.what_changed import WhatChanged
from teknav_ops.workbench import causes
from teknav_ops.workbench.asking import Questions
from teknav_ops.workbench.reviews import Reviews
from teknav_ops.workbench.telling import Telling, current_cell

if TYPE_CHECKING:
    import pandas


class Workbench(Questions, Reviews, Telling):
    """One system. Questions to a snapshot are methods of the same name as in `teknav_ops.snapshots.questions`."""

    def __init__(self, settings: Settings, *, topology: Topology = TOPOLOGY) -> None:
        self.settings = settings
        self.topology = topology
        self._snapshot: Snapshot | None = None
        self._asked_in: int | None = None

    # Where the answers come from -----------------------------------------------------------------

    @cached_property
    def client(self) -> Client:
        """Redis. Raises RedisUnavailable with what to do."""
        client = connect(find_redis_url(self.settings), timeout_seconds=self.settings.redis_timeout_seconds)
        try:
            client.ping()
        except (RedisError, OSError) as error:
            raise RedisUnavailable(
                f"Redis does not answer ({type(error).__name__}). Start the system with `teknav up`, or set "
                "TEKNAV_REDIS_URL, or name a profile: connect('staging')"
            ) from None
        return client

    @cached_property
    def database(self) -> Database:
        """SQL."""
        return Database.open(self.settings.sql_url)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot that is asked: the newest at the first question of each cell, and one for the whole of it.

        An unattended run, which is read as a whole, keeps its first one throughout; so does a program without cells,
        until it asks to `refresh`. Raises NoSnapshot with what to do.
        """
        cell = None if self.settings.report_run else current_cell()
        if self._snapshot is None or cell != self._asked_in:
            self._asked_in = cell
            self.refresh()
        assert self._snapshot is not None
        return self._snapshot

    def refresh(self) -> str:
        """Look for a newer snapshot now; says as of when the one is that is asked from here on. Raises NoSnapshot."""
        newest = open_snapshot(self.settings)
        old = self._snapshot
        if old is not None and old.path == newest.path:
            newest.close()
            return self.as_of
        # The older one stays open for whoever has kept it.
        self._snapshot = newest
        return self.as_of

    @property
    def as_of(self) -> str:
        """What to write under a chart of the snapshot."""
        snapshot = self._snapshot or self.snapshot
        return f"as of {snapshot.meta.exported_at:%Y-%m-%d %H:%M:%S} UTC, from the snapshot"

    @property
    def now(self) -> str:
        """What to write under a chart of live numbers."""
        return f"as of {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC, live"

    def last(self, *, hours: float) -> dict[str, datetime]:
        """`since` and `until` of the hours before the snapshot was made, for questions: `**bench.last(hours=24)`."""
        span, until = span_of("hours", hours), self.snapshot.meta.exported_at
        return {"since": until - span, "until": until}

    def before(self, *, hours: float) -> dict[str, datetime]:
        """`since` and `until` of as many hours before those of `last`."""
        last = self.last(hours=hours)
        return {"since": last["since"] - span_of("hours", hours), "until": last["since"]}

    @staticmethod
    def hours(*, since: datetime, until: datetime) -> float:
        """How long a window is."""
        return (until - since).total_seconds() / 3600

    @staticmethod
    def width(*, hours: float) -> timedelta:
        """The width of a chart's steps for a window of so many hours: about a hundred of them, in whole minutes."""
        minutes = (1, 5, 15, 60, 360, 1440)
        span = span_of("hours", hours)
        return timedelta(minutes=next((step for step in minutes if span <= timedelta(minutes=step * 120)), minutes[-1]))

    # Now -----------------------------------------------------------------------------------------

    def queue_stats(self) -> dict[str, QueueStats]:
        """Every queue's numbers as of now, by name; docs/metrics.md explains them."""
        return read_now(self.client, self.topology)

    def stats(self) -> pandas.DataFrame:
        """One row per queue, as of now. Durations in ms, `rate` in finished jobs per second."""
        import pandas as pd

        rows = [stats.model_dump(exclude={"term", "publisher", "age_ms"}) for stats in self.queue_stats().values()]
        return pd.DataFrame(rows).set_index("queue")

    def attention(self) -> pandas.DataFrame:
        """What a person should look at, the worst first; no rows when all is well."""
        import pandas as pd

        found = attention(self.queue_stats(), scheduler=read_scheduler(self.client, self.topology))
        return pd.DataFrame(
            [(about.severity, about.queue or "all", about.text) for about in found],
            columns=["severity", "queue", "what"],
        )

    def history(
        self,
        queue: str,
        *,
        hours: float = 24,
        step_minutes: int = 15,
        by_job: bool = False,
        outcome: RunOutcome = "completed",
    ) -> pandas.DataFrame:
        """A queue's numbers over time up to now, one row per step, with durations of the runs of the outcome; beyond 24
        hours a snapshot is needed.
        """
        window, step = span_of("hours", hours), span_of("step_minutes", step_minutes)
        return history(
            self.topology[queue].name, window, step, client=self.client,
            snapshot=None if is_in_redis(window, step) else self.snapshot, by_job=by_job, outcome=outcome,
        )  # fmt: skip

    # Jobs and dead letters -----------------------------------------------------------------------

    @cached_property
    def jobs(self) -> JobQueries:
        """Reading jobs."""
        return JobQueries(self.client, self.topology)

    @cached_property
    def dead_letters(self) -> DeadLetterQueries:
        """Reading dead letters; secrets are masked."""
        return DeadLetterQueries(self.client, self.topology)

    @cached_property
    def replays(self) -> Replays:
        """Reading batch replays: which run, and what became of their jobs."""
        return Replays(self.client, self.dead_letters, self.topology)

    def queue(self, name: str) -> Queue:
        """What the catalogue says of a queue. Raises UnknownQueue."""
        return self.topology[name]

    def dead_letter_groups(self, queue: str | None = None, *, limit: int = 1_000) -> pandas.DataFrame:
        """Causes of dead letters, most frequent first, of one queue or of all: the `limit` most frequent of each.

        Rarer ones are one row of their queue, so that the counts still add up to all there are.
        """
        names = [self.topology[queue].name] if queue else list(self.topology)
        return causes.frame(self.dead_letters, names, limit=limit)

    # Judging -------------------------------------------------------------------------------------

    def compare_windows(
        self,
        queue: str,
        *,
        hours: float,
        baseline_hours: float,
        job_name: str | None = None,
        outcome: RunOutcome = "completed",
    ) -> Regression:
        """Whether runs of the outcome got slower in the last hours than in those before; with interval and n."""
        window = self.last(hours=hours)
        before = (window["since"] - span_of("baseline_hours", baseline_hours), window["since"])
        name = self.topology[queue].name
        return from_snapshot.compare_windows(
            self.snapshot, name, (window["since"], window["until"]), before, job_name=job_name, outcome=outcome
        )

    def what_changed(self, since: datetime, until: datetime, *, queues: list[str] | None = None) -> WhatChanged:
        """A window against the time before it, largest change first."""
        return from_snapshot.what_changed(self.snapshot, since, until, queues=queues)

    # Acting --------------------------------------------------------------------------------------

    @cached_property
    def operator(self) -> Operator:
        """Who acts: the token's bearer where TEKNAV_API_TOKEN is set, else the person at this machine.

        Raises:
            NotAllowed: the token is not accepted, or may not act.
        """
        token = self.settings.api_token
        if token is None:
            return local_operator(self.settings)
        identity = Entrance(self.settings, self.client, OperatorLog(self.database)).by_token(token.get_secret_value())
        if identity is None:
            raise NotAllowed("TEKNAV_API_TOKEN: this token is not, or no more, accepted; see `teknav tokens list`")
        if not identity.may(Operation.ACT, SOME_QUEUE):
            raise NotAllowed(f"TEKNAV_API_TOKEN: {identity.operator.name} lacks the scope `act`")
        return identity.operator

    @property
    def control(self) -> Control:
        """The operators' door. Raises NotAllowed in an unattended run that was not given leave to act."""
        if self.settings.report_run and not self.settings.report_allow_replay:
            raise NotAllowed("this is an unattended run: it reads only, unless the report's settings allow replays")
        return self._control

    @cached_property
    def _control(self) -> Control:
        return Control(
            self.client, self.operator, OperatorLog(self.database), cipher=Cipher(cipher_keys(self.settings)),
            topology=self.topology, payload_limit_bytes=self.settings.payload_limit_bytes,
        )  # fmt: skip
