"""Lifecycle: the engine starts and stops with Dramatiq's worker."""

from __future__ import annotations

import dramatiq
from dramatiq import Broker
from dramatiq.middleware import Middleware

from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.parent_death import end_with_parent


class Lifecycle(Middleware):
    """At SIGTERM fetching stops at once, while running jobs finish."""

    def after_process_boot(self, broker: Broker) -> None:
        """Dramatiq's master may be killed; its workers must not stay behind."""
        end_with_parent()

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Learn how many threads there are."""
        assert isinstance(broker, TekNavBroker)
        broker.desk.open(worker.worker_threads)

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Hand out nothing more."""
        assert isinstance(broker, TekNavBroker)
        broker.desk.close()
