"""A worker in this process, on the test topology, with processors that a test can steer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dramatiq
import redis

from teknav_ops.engine.assembly import register
from teknav_ops.engine.broker import TekNavBroker
from teknav_ops.engine.middleware import build_middleware
from teknav_ops.engine.middleware.idempotency import EffectLedger
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.engine.stuck_jobs import Graces
from teknav_ops.errors import StorageUnavailable
from teknav_ops.payloads.codec import Cipher
from teknav_ops.redis_state.connection import connect
from teknav_ops.topology import Topology
from tests.support.topology import TOPOLOGY, Confide, Poison, Work
from tests.support.waiting import until

Behaviour = Callable[[Any, JobContext[Any]], Mapping[str, Any] | None]


class Effects:
    """An effect ledger in memory."""

    def __init__(self) -> None:
        self.recorded: dict[str, Mapping[str, Any]] = {}
        self.is_writable = True

    def find(self, job_id: str) -> Mapping[str, Any] | None:
        return self.recorded.get(job_id)

    def require_writes(self) -> None:
        if not self.is_writable:
            raise StorageUnavailable("read-only")


class Engine:
    """A broker whose processors do what `behaviour` says, and note each run in `runs`."""

    def __init__(
        self, url: str, cipher: Cipher, *, topology: Topology = TOPOLOGY, lease_seconds: float = 30.0,
        effects: EffectLedger | None = None, graces: Graces | None = None, redis_timeout_seconds: float = 2,
    ) -> None:  # fmt: skip
        self.behaviour: Behaviour = lambda job, ctx: None
        self.runs: list[tuple[str, int]] = []
        self._lock = threading.Lock()
        self.broker = TekNavBroker(
            partial(connect, url, timeout_seconds=redis_timeout_seconds), topology, cipher=cipher,
            middleware=build_middleware(topology, cipher=cipher, effects=effects, telemetry=False, graces=graces),
            lease_seconds=lease_seconds, producer_timeout_seconds=2,
        )  # fmt: skip
        models = {"poison": Poison, "confide": Confide}
        names = [job for queue in topology.values() for job in queue.jobs]
        register(self.broker, [Processor(job, models.get(job, Work), self._run) for job in names], None)

    def _run(self, job: Any, ctx: JobContext[Any]) -> Mapping[str, Any] | None:
        with self._lock:
            self.runs.append((ctx.job_id, ctx.attempt))
        return self.behaviour(job, ctx)

    @contextmanager
    def working(self, threads: int = 4, queues: set[str] | None = None) -> Iterator[dramatiq.Worker]:
        worker = dramatiq.Worker(self.broker, worker_threads=threads, worker_timeout=100, queues=queues)
        worker.start()
        try:
            yield worker
        finally:
            worker.stop(timeout=10_000)

    def last_beat(self) -> float:
        """When its leases were extended last, by the monotonic clock; it stands while Redis takes no writes."""
        return self.broker.lease_keeper._beat_at

    def await_silence(self, leases: float) -> None:
        """Wait until it could not extend its leases for so many times their length."""
        seconds = leases * self.broker.lease_keeper._lease_ms / 1000
        until(lambda: time.monotonic() - self.last_beat() > seconds, seconds=seconds + 45, what="missed heartbeats")

    def await_right_to_reclaim(self) -> None:
        """Wait for a heartbeat in which it may take what others hold, had they been silent for long enough."""
        keeper = self.broker.lease_keeper
        until(lambda: self.last_beat() >= keeper._reclaims_from, what="a heartbeat that reclaims")

    def close(self) -> None:
        self.broker.close()


def dump(client: redis.Redis) -> dict[str, Any]:
    """All that Redis holds, to show that a refusal wrote nothing."""
    readers = {
        "string": client.get,
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
        "stream": client.xrange,
    }
    return {key: readers[client.type(key)](key) for key in sorted(client.scan_iter())}
