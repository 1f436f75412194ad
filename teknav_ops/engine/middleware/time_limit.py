"""Time limits: Dramatiq's own, with the limits of the topology."""

from __future__ import annotations

from dramatiq import Actor, Broker
from dramatiq.broker import MessageProxy
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

    def limit_ms(self, broker: Broker, message: MessageProxy) -> float:
        """The limit that this run has."""
        options = broker.get_actor(message.actor_name).options
        return float(message.options.get("time_limit") or options.get("time_limit", self.time_limit))
