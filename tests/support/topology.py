"""A small topology for engine tests."""

from __future__ import annotations

from pydantic import SecretStr

from teknav_ops.payloads.base import Payload
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.topology import Queue, Topology


class Work(Payload):
    """Do something that a test can see."""

    number: int
    fail_times: int = 0
    seconds: float = 0.0


class Poison(Payload):
    """Kill the worker."""


class Confide(Payload):
    """Carry a secret."""

    secret: SecretStr
    note: str = ""


FAST_RETRY = RetryPolicy(attempts=3, min_backoff_ms=20, max_backoff_ms=60)

TOPOLOGY = Topology(
    Queue(
        name="test:work",
        purpose="Work.",
        jobs={"work": Work, "poison": Poison, "confide": Confide},
        concurrency=4,
        retry=FAST_RETRY,
        completed_kept=100_000,
        failed_kept=100_000,
    ),
    Queue(name="test:other", purpose="More work.", jobs={"other": Work}, concurrency=4, retry=FAST_RETRY),
)
