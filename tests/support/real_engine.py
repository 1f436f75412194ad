"""A worker in this process that runs real processors with real services."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import dramatiq

from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.engine.processor import Processor
from teknav_ops.redis_url import find_redis_url
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.topology import TOPOLOGY, Queue, Topology


def topology_of(*names: str) -> Topology:
    """Only these queues of the catalogue."""
    return Topology(*(TOPOLOGY[name] for name in names))


@contextmanager
def working(
    services: Any, processors: Iterable[Processor], topology: Topology | Queue, *, threads: int = 4
) -> Iterator[TekNavBroker]:
    """Jobs of the topology are run while the block lasts."""
    queues = topology if isinstance(topology, Topology) else Topology(topology)
    broker = build_broker(
        services.settings, find_redis_url(services.settings), effects=SqlEffects(services.database), topology=queues
    )
    register(broker, processors, services)
    worker = dramatiq.Worker(broker, worker_threads=threads, worker_timeout=100)
    worker.start()
    try:
        yield broker
    finally:
        worker.stop(timeout=10_000)
        broker.close()
