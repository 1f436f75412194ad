"""The benchmark's queue."""

from __future__ import annotations

from teknav_ops.payloads.base import Payload
from teknav_ops.topology import Queue, Topology


class Noop(Payload):
    """Do nothing."""

    number: int = 0
    sent_at: float = 0.0


TOPOLOGY = Topology(Queue(name="bench:noop", purpose="Benchmarks.", jobs={"noop": Noop}, concurrency=8))
