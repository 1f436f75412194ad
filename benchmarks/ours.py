"""Our worker for the benchmark: `python -m dramatiq benchmarks.ours`. Everything is recorded, as in production."""

from __future__ import annotations

import os
import time

import dramatiq

from benchmarks.orders import TOPOLOGY, Noop
from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.settings import Settings


@processor("noop")
def noop(job: Noop, ctx: JobContext[None]) -> None:
    """Do nothing, or say when it was begun."""
    if job.sent_at:
        broker.client.rpush("latency", str(time.time() - job.sent_at))  # type: ignore[attr-defined]


broker = build_broker(Settings(), os.environ["BENCH_REDIS_URL"], topology=TOPOLOGY)
register(broker, [noop], None)
dramatiq.set_broker(broker)
