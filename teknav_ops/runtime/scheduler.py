"""The scheduler: what must happen once, in one process: move the audit trail, publish the stats.

Any number may run; one leads, the others stand by.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from teknav_ops.audit.writer import AuditWriter
from teknav_ops.errors import StorageUnavailable
from teknav_ops.logs import configure_logs
from teknav_ops.metrics.live import PUBLISH_SECONDS, StatsPublisher
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.runtime.leader import LeaderLease
from teknav_ops.settings import Settings, get_settings
from teknav_ops.storage.database import Database
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.scheduler")

_OUTAGES: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, StorageUnavailable)
_AUDIT_SECONDS: Final = 0.5
_OUTAGE_SECONDS: Final = 1.0


class Scheduler:
    """Runs its duties while it leads, until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        client = connect(find_redis_url(settings), timeout_seconds=settings.redis_timeout_seconds)
        self._database = Database.open(settings.sql_url)
        self._writer = AuditWriter(client, self._database, TOPOLOGY)
        self._stats = StatsPublisher(client, TOPOLOGY)
        self._lease = LeaderLease(client, "scheduler")
        self._stopped = threading.Event()
        self._published_at = 0.0
        self._led = False

    def stop(self) -> None:
        """End after the duty under way."""
        self._stopped.set()

    def run(self) -> None:
        """Work until stopped. An outage of Redis or SQL is waited out: streams hold what is to be moved."""
        while not self._stopped.wait(_AUDIT_SECONDS):
            try:
                self._turn()
            except _OUTAGES as error:
                log.warning("scheduler.waiting", error=str(error))
                self._stopped.wait(_OUTAGE_SECONDS)
        self._leave()

    def _turn(self) -> None:
        leads = self._lease.hold()
        if leads != self._led:
            self._led = leads
            log.info("scheduler.leading" if leads else "scheduler.standing_by", holder=self._lease.holder)
        if not leads:
            return
        # One batch per turn: the lease is renewed in between, however much there is to move.
        while self._writer.step() and self._lease.hold() and not self._stopped.is_set():
            self._publish_when_due()
        self._publish_when_due()

    def _publish_when_due(self) -> None:
        if time.monotonic() - self._published_at >= PUBLISH_SECONDS:
            self._stats.publish()
            self._published_at = time.monotonic()

    def _leave(self) -> None:
        try:
            if self._led:
                self._writer.drain()
                self._lease.give_up()
        except _OUTAGES as error:
            log.warning("scheduler.left_early", error=str(error))
        self._database.dispose()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())


def main() -> None:
    """Run a scheduler in this process."""
    settings = get_settings()
    configure_logs(settings)
    scheduler = Scheduler(settings)
    stop_on_signals(scheduler.stop)
    scheduler.run()


if __name__ == "__main__":
    main()
