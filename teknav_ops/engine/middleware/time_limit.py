"""Time limits: Dramatiq's own, with the limits of the topology."""

from __future__ import annotations

import threading
import time
from functools import partial

from dramatiq import Actor, Broker
from dramatiq.broker import MessageProxy
from dramatiq.middleware import TimeLimit, TimeLimitExceeded
from dramatiq.middleware.threading import raise_thread_exception
from dramatiq.middleware.time_limit import _CtypesTimeoutManager

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.topology import Topology


class _LimitKeeper(_CtypesTimeoutManager):
    """Raises in late threads under its lock: once a thread has taken its limit back, nothing is raised in it.

    Dramatiq's own does so after it has let go of the lock. By then the job may have ended.
    """

    def _handle_deadlines(self) -> None:
        late = []
        with self.mu:
            now = time.monotonic()
            for thread_id, deadline in self.deadlines.items():
                if deadline and now >= deadline:
                    self.deadlines[thread_id] = None
                    raise_thread_exception(thread_id, TimeLimitExceeded)  # type: ignore[no-untyped-call]
                    late.append(thread_id)
        for thread_id in late:
            self.logger.warning("Time limit exceeded: raised in worker thread %r.", thread_id)


class TimeLimits(TimeLimit):
    """A job over its limit is interrupted with TimeLimitExceeded, and retried like any failure."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._topology = topology
        self.manager = _LimitKeeper(interval=1_000, logger=self.logger)  # type: ignore[no-untyped-call]

    def before_declare_actor(self, broker: Broker, actor: Actor[..., object]) -> None:
        """Give actors of the topology their queue's limit."""
        if actor.queue_name in self._topology:
            actor.options.setdefault("time_limit", self._topology[actor.queue_name].time_limit_ms)

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        """The limit runs from now on, until the run has ended."""
        super().before_process_message(broker, message)  # type: ignore[no-untyped-call]
        if isinstance(message, JobMessage):
            message.at_end.append(partial(self.manager.remove_timeout, threading.get_ident()))

    def limit_ms(self, broker: Broker, message: MessageProxy) -> float:
        """The limit that this run has."""
        options = broker.get_actor(message.actor_name).options
        return float(message.options.get("time_limit") or options.get("time_limit", self.time_limit))
