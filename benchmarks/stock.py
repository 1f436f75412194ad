"""Stock Dramatiq for the benchmark: its RedisBroker with its default middleware."""

from __future__ import annotations

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

broker = RedisBroker(url=os.environ["BENCH_REDIS_URL"])
dramatiq.set_broker(broker)
client = redis.Redis.from_url(os.environ["BENCH_REDIS_URL"])


@dramatiq.actor(queue_name="noop")
def noop(number: int, sent_at: float = 0.0) -> None:
    """Do nothing, or say when it was begun."""
    if sent_at:
        client.rpush("latency", str(time.time() - sent_at))
