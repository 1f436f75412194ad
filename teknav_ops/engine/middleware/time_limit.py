"""Time limits: Dramatiq's own, with the limits of the topology."""

from __future__ import annotations

from dramatiq import Actor, Broker
from dramatiq.middleware import TimeLimit

from teknav_ops.topology import Topology


class TimeLimits(TimeLimit):
    """A job over its limit is interrupted with TimeLimitExceeded, and retried like any failure."""

    def __init__(self, topology: Topology) -> None:
        super().__init__()
        self._topology = topology

    def before_declare_actor(self, broker: Broker, actor: Actor[..., object]) -> None:
        """Give actors of the topology their queue's limit."""
        if actor.queue_name in self._topology:
            actor.options.setdefault("time_limit", self._topology[actor.queue_name].time_limit_ms)
