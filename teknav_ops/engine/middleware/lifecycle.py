"""Lifecycle: the engine starts and stops with Dramatiq's worker."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from multiprocessing.util import Finalize
from typing import Any, Final

import dramatiq
from dramatiq import Broker
from dramatiq.middleware import Middleware

from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.parent_death import end_with_parent

#: How long a process in a hurry waits for the jobs that it has asked for, and for its outcomes to be committed.
_FLUSH_SECONDS: Final = 2.0
#: So long it is left in peace then. SIGKILL ends it at any time.
_PEACE_SECONDS: Final = 30.0


class Lifecycle(Middleware):
    """At SIGTERM fetching stops at once, while running jobs finish; at a second one they are given back unfinished."""

    def after_process_boot(self, broker: Broker) -> None:
        """Dramatiq's master may be killed; its workers must not stay behind."""
        assert isinstance(broker, TekNavBroker)
        end_with_parent()
        heard: list[float] = []
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _heard_twice(signal.getsignal(number), heard))
        # However the process ends, short of being killed: a second SIGTERM ends it at once, by SystemExit.
        Finalize(None, _give_back_what_is_left, args=(broker,), exitpriority=0)

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Learn how many threads there are."""
        assert isinstance(broker, TekNavBroker)
        broker.desk.open(worker.worker_threads)

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Hand out nothing more."""
        assert isinstance(broker, TekNavBroker)
        broker.desk.close()


def _heard_twice(handler: Any, heard: list[float]) -> Callable[[int, Any], None]:
    """The handler, which ends the process the second time: who goes on asking, by either signal, disturbs nothing."""

    def handle(number: int, frame: Any) -> None:
        heard.append(time.monotonic())
        if len(heard) <= 2 or heard[-1] - heard[1] > _PEACE_SECONDS:
            handler(number, frame)

    return handle


def _give_back_what_is_left(broker: TekNavBroker) -> None:
    """Else it would lie under its leases, and count as lost."""
    broker.desk.close()
    broker.desk.await_fetches(_FLUSH_SECONDS)
    if any(broker.held_counts().values()):
        broker.finisher.flush(_FLUSH_SECONDS)
        broker.release_all()
