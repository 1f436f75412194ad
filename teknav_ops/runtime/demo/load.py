"""Load of a chosen shape, for as long as it is wanted."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable

from teknav_ops.producer import Producer
from teknav_ops.runtime.demo.orders import Orders
from teknav_ops.runtime.demo.shapes import Shape, pulses


def run_load(
    producer: Producer, orders: Orders, shape: Shape, *, rate_per_second: float, seconds: float,
    wait: Callable[[float], bool], chance: random.Random, on_job: Callable[[str], None] = lambda queue: None,
) -> Counter[str]:  # fmt: skip
    """Enqueue until `seconds` have passed or `wait` answers True (stop); how many jobs went to which queue.

    Raises RedisUnavailable.
    """
    counts = Counter[str]()
    deadline = time.monotonic() + seconds
    cause = chance.randrange(1_000)
    for pulse in pulses(shape, rate_per_second):
        if wait(min(pulse.wait_seconds, max(0.0, deadline - time.monotonic()))) or time.monotonic() >= deadline:
            return counts
        for _ in range(pulse.job_count):
            is_faulty = chance.random() < pulse.faulty_share
            queue = orders.enqueue(
                producer, orders.pick(is_faulty=is_faulty, cause=cause if pulse.is_one_cause else None)
            )
            counts[queue] += 1
            on_job(queue)
    return counts
