"""What routes and pages need, made when first asked for, one set per process."""

from __future__ import annotations

import contextlib
import time
from functools import cached_property
from typing import Final

from teknav_ops.access.entrance import Entrance
from teknav_ops.access.identity import Identity
from teknav_ops.access.policy import SOME_QUEUE, Operation, Operator, require
from teknav_ops.access.quota import Quotas
from teknav_ops.api.background import BackgroundReplays
from teknav_ops.api.realtime.hub import Hub
from teknav_ops.api.redis_watch import RedisWatch
from teknav_ops.api.search import JobSearch
from teknav_ops.api.single_flight import SingleFlight
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.audit.story import story
from teknav_ops.audit.trail import AuditEntry, AuditTrail
from teknav_ops.control import Control
from teknav_ops.jobs.dead_letter_queries import DeadLetterQueries
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.metrics.scheduler_state import SchedulerState, read_scheduler
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.replays import Replays
from teknav_ops.secret_key import cipher_keys
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.topology import TOPOLOGY, Queue, Topology

_SCHEDULER_SECONDS: Final = 2.0


class Services:
    """One process's connections and what stands on them. Thread-safe; `close` at the end."""

    def __init__(self, settings: Settings, topology: Topology = TOPOLOGY) -> None:
        self.settings = settings
        self.topology = topology
        # Made at once: two threads that ask first would otherwise make two.
        url = find_redis_url(settings)
        self.client: Client = connect(url, timeout_seconds=settings.redis_timeout_seconds)
        self.redis_watch = RedisWatch(url)
        self.database = Database.open(settings.sql_url)
        self.operator_log = OperatorLog(self.database)
        self.entrance = Entrance(settings, self.client, self.operator_log)
        self.jobs = JobQueries(self.client, topology)
        self.dead_letters = DeadLetterQueries(self.client, topology)
        self.quotas = Quotas(self.client, self.jobs.counts)
        self.replays = Replays(self.client, self.dead_letters, topology)
        self.search = JobSearch(self.client, self.database, topology)
        self.workers = WorkerQueries(self.client, topology)
        self.trail = AuditTrail(self.database)
        self.hub = Hub(self.client)
        self.flights = SingleFlight()
        self.background = BackgroundReplays(self.client, self.replays, self.control)
        self._scheduler: tuple[float, SchedulerState] = (float("-inf"), "missing")

    @cached_property
    def cipher(self) -> Cipher:
        """Seals and opens secret payload fields. Raises MissingSecretKey."""
        return Cipher(cipher_keys(self.settings))

    def producer(self, operator: Operator) -> Producer:
        """Enqueueing, as this operator, on the queues that are the operator's. Raises NotAllowed."""
        require(operator, Operation.ENQUEUE, SOME_QUEUE)

        def admit(queue: Queue, count: int) -> None:
            require(operator, Operation.ENQUEUE, queue.name)
            self.take_quota(operator, queue.name, count)

        return Producer(
            self.client, cipher=self.cipher, topology=self.topology, actor=operator.name,
            payload_limit_bytes=self.settings.payload_limit_bytes,
            timeout_seconds=self.settings.producer_timeout_seconds, admit=admit,
        )  # fmt: skip

    def take_quota(self, operator: Operator, queue: str, count: int) -> None:
        """Ask before jobs are made, whichever way. Raises QuotaExceeded."""
        if operator.quota is not None:
            self.quotas.take(operator.quota, self.topology[queue].name, count)

    def control(self, operator: Operator) -> Control:
        """The operators' door, for this operator."""
        control = Control(
            self.client, operator, self.operator_log, cipher=self.cipher, topology=self.topology,
            payload_limit_bytes=self.settings.payload_limit_bytes,
        )  # fmt: skip
        control.replay_started = self.background.look
        return control

    def story(self, queue: str, job_id: str) -> list[AuditEntry]:
        """What the audit trail says of a job, oldest first, with what has not reached AuditLog yet."""
        return story(self.database, self.client, Topology(self.topology[queue]), job_id).entries

    def scheduler(self) -> SchedulerState:
        """Whether a scheduler publishes, or is about to; looked up again every other second."""
        now = time.monotonic()
        checked_at, answer = self._scheduler
        if now - checked_at > _SCHEDULER_SECONDS:
            answer = read_scheduler(self.client, self.topology)
            self._scheduler = (now, answer)
        return answer

    def start(self) -> None:
        """Begin to hear events, to run batch replays, and to ask whether Redis answers."""
        self.redis_watch.start()
        self.hub.start()
        self.background.start()

    def stop(self) -> None:
        """End all of it; batch replays under way are taken up by another process, or after the next start."""
        self.hub.stop()
        self.background.stop()
        self.redis_watch.stop()

    def is_current(self, identity: Identity) -> bool:
        """Whether somebody who was let in is still let in."""
        return identity in self.entrance.still_in([identity])

    def note_use(self, identity: Identity) -> None:
        """Somebody did something on an open page: their session is not idle."""
        if identity.session_id is not None:
            with contextlib.suppress(*OUTAGE_ERRORS):
                self.entrance.sessions.use(identity.session_id)

    def close(self) -> None:
        """Close the connections."""
        self.client.close()
        self.database.dispose()
