"""Stuck jobs: what runs long past its time limit is noticed, shown, and in the end left behind."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq import Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import Middleware

from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.middleware.time_limit import TimeLimits
from teknav_ops.engine.own_process import OwnProcess
from teknav_ops.engine.stuck_jobs import Graces, StuckWatch


class StuckJobs(Middleware):
    """Tells the watch what each thread runs. Stands before the guards: one of them may be what is stuck."""

    def __init__(self, time_limits: TimeLimits, graces: Graces) -> None:
        self._time_limits = time_limits
        self._graces = graces
        self._process: OwnProcess | None = None
        self._watch: StuckWatch | None = None

    def after_process_boot(self, broker: Broker) -> None:
        """Only a process that Dramatiq's command line started may start anew; a worker in another program may not."""
        self._process = OwnProcess()

    def before_worker_boot(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Begin to look."""
        assert isinstance(broker, TekNavBroker)
        self._watch = StuckWatch(broker, self._graces, self._process)
        self._watch.start()

    def before_worker_shutdown(self, broker: Broker, worker: dramatiq.Worker) -> None:
        """Look no more: Dramatiq's own grace counts now."""
        if self._watch is not None:
            self._watch.stop()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """A thread begins a job."""
        if self._watch is not None and isinstance(message, JobMessage):
            self._watch.begin(message, self._time_limits.limit_ms(broker, message))
            message.at_end.append(self._watch.end)

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        """Its job has ended."""
        if self._watch is not None:
            self._watch.end()

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:
        """It need not run."""
        self.after_process_message(broker, message)
