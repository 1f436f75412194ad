"""The scheduler: what must happen once, in one process. `duties_of` is the list.

Any number may run; one leads, the others stand by and take over within ten seconds.
"""

from __future__ import annotations

import functools
import signal
import sys
import threading
from collections.abc import Callable
from typing import Final

import structlog
from redis.exceptions import RedisError

from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import LOOK_SECONDS, AuditSealer
from teknav_ops.audit.chain.watch import EVERY_SECONDS as VERIFY_SECONDS
from teknav_ops.audit.chain.watch import ChainWatch
from teknav_ops.audit.lag import known_lags
from teknav_ops.audit.open_actions import LOOK_SECONDS as OPEN_ACTIONS_SECONDS
from teknav_ops.audit.open_actions import OpenActions
from teknav_ops.audit.retention import EVERY_SECONDS as RETENTION_SECONDS
from teknav_ops.audit.retention import AuditRetention
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.errors import InvalidRequest, MissingSecretKey, StorageUnavailable
from teknav_ops.events.relay import BLOCK_SECONDS, EventRelay
from teknav_ops.logs import configure_logs
from teknav_ops.metrics.aggregates import CHECK_SECONDS, Aggregator
from teknav_ops.metrics.live import PUBLISH_SECONDS, StatsPublisher
from teknav_ops.platform.job_records.follower import LOOK_SECONDS as FOLLOW_SECONDS
from teknav_ops.platform.job_records.follower import JobRecordFollower
from teknav_ops.platform.job_records.sweep import LOOK_SECONDS as SWEEP_SECONDS
from teknav_ops.platform.job_records.sweep import JobRecordSweep
from teknav_ops.private_files import keep_files_private
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.reports.scheduled import TICK_SECONDS, ScheduledReports
from teknav_ops.runtime.alert_duties import alert_duties
from teknav_ops.runtime.duties import Duty, DutyThread
from teknav_ops.runtime.exports import Exports
from teknav_ops.runtime.leader import LeaderLease
from teknav_ops.runtime.settings_at_start import settings_at_start
from teknav_ops.settings import Settings
from teknav_ops.snapshots.duty import SnapshotDuty
from teknav_ops.storage.database import Database
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.scheduler")

_OUTAGES: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, StorageUnavailable)
_RENEW_SECONDS: Final = 1.0
_AUDIT_SECONDS: Final = 0.5
#: How long a step may still take when the scheduler is told to end.
_LEAVE_SECONDS: Final = 20.0
_LAST_WORDS_SECONDS: Final = 5.0


class Parts:
    """What duties are made of, shared by them all."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.client: Client = connect(find_redis_url(settings), timeout_seconds=settings.redis_timeout_seconds)
        self.database = Database.open(settings.sql_url)
        self.lease = LeaderLease(self.client, "scheduler")
        # On connections of its own: it waits on them for what happens.
        patient = connect(find_redis_url(settings), timeout_seconds=settings.redis_timeout_seconds + BLOCK_SECONDS)
        self.relay = EventRelay(
            patient, TOPOLOGY, events_per_second=settings.events_per_second, events_kept=settings.events_kept
        )
        self.reports = ScheduledReports(settings, self.client, self.database, holder=self.lease.holder)
        self.writer = AuditWriter(self.client, self.database, TOPOLOGY, told_up_to=self.relay.told_up_to)


def duties_of(parts: Parts) -> list[Duty]:
    """Everything the leader does."""
    stats = StatsPublisher(parts.client, TOPOLOGY, parts.lease, events_kept=parts.settings.events_kept)
    snapshots = SnapshotDuty(parts.settings, parts.database)
    aggregates = Aggregator(parts.client, parts.database, TOPOLOGY)
    keys = LinkKeys.from_settings(parts.settings)
    sealer = AuditSealer(parts.database, keys)
    verifying = ChainWatch(parts.client, parts.database, keys)
    retention = AuditRetention(parts.database, keys, keep_days=parts.settings.audit_retention_days)
    lag = functools.partial(known_lags, parts.client, TOPOLOGY)
    open_actions = OpenActions(parts.database, lag)
    follower = JobRecordFollower(parts.client, parts.database)
    sweep = JobRecordSweep(parts.client, parts.database, lag)
    return [
        Duty(name="audit", every_seconds=_AUDIT_SECONDS, run=lambda: parts.writer.step() > 0),
        Duty(name="audit-seal", every_seconds=LOOK_SECONDS, run=sealer.step),
        Duty(name="audit-verify", every_seconds=VERIFY_SECONDS, run=verifying.step),
        Duty(name="audit-retention", every_seconds=RETENTION_SECONDS, run=retention.step),
        Duty(name="audit-open-actions", every_seconds=OPEN_ACTIONS_SECONDS, run=open_actions.step),
        Duty(name="job-records", every_seconds=FOLLOW_SECONDS, run=follower.step),
        Duty(name="job-records-sweep", every_seconds=SWEEP_SECONDS, run=sweep.step),
        Duty(name="stats", every_seconds=PUBLISH_SECONDS, run=stats.step),
        Duty(name="aggregates", every_seconds=CHECK_SECONDS, run=aggregates.step),
        Duty(name="snapshot", every_seconds=parts.settings.snapshot_seconds, run=snapshots.step),
        Duty(name="events", every_seconds=BLOCK_SECONDS, run=parts.relay.step),
        *alert_duties(parts.settings, parts.client, parts.database),
        Duty(name="reports", every_seconds=TICK_SECONDS, run=parts.reports.step),
    ]


class Scheduler:
    """Runs its duties while it leads, until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._parts = Parts(settings)
        self._lease = self._parts.lease
        self._threads = [DutyThread(duty, self._lease) for duty in duties_of(self._parts)]
        self._exports = Exports(settings, self._lease)
        self._stopped = threading.Event()
        self._led = False

    def stop(self) -> None:
        """End after the duties under way."""
        self._stopped.set()

    def run(self) -> None:
        """Work until stopped. An outage of Redis or SQL is waited out: streams hold what is to be moved."""
        for thread in self._threads:
            thread.start()
        while True:
            self._renew()
            if self._stopped.wait(_RENEW_SECONDS):
                break
        self._leave()

    def _renew(self) -> None:
        try:
            leads = self._lease.hold()
        except OUTAGE_ERRORS as error:
            log.warning("scheduler.waiting", error=str(error))
            return
        except RedisError as error:
            log.error("scheduler.refused", error=str(error))
            return
        if leads != self._led:
            self._led = leads
            log.info("scheduler.leading" if leads else "scheduler.standing_by", holder=self._lease.holder)

    def _leave(self) -> None:
        for thread in self._threads:
            thread.stop()
        self._parts.reports.close()
        for thread in self._threads:
            thread.join(_LEAVE_SECONDS)
        try:
            if self._lease.hold():
                # First told, then moved: what is moved leaves the streams.
                self._parts.relay.catch_up(_LAST_WORDS_SECONDS)
                self._parts.writer.drain()
                self._lease.give_up()
        except (RedisError, *_OUTAGES) as error:  # type: ignore[misc]
            log.warning("scheduler.left_early", error=str(error))
        self._exports.close()
        self._parts.database.dispose()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())


def main() -> None:
    """Run a scheduler in this process."""
    keep_files_private()
    settings = settings_at_start()
    configure_logs(settings)
    try:
        scheduler = Scheduler(settings)
    except (InvalidRequest, MissingSecretKey) as error:
        # A setting is wrong; nothing has begun.
        sys.exit(f"error: {error}")
    stop_on_signals(scheduler.stop)
    scheduler.run()


if __name__ == "__main__":
    main()
