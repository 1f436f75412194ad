"""What a case is: a situation for a typed script call in which it has something to do.

A case brings an empty database into the situation, through the scripts, and answers the call that is then sent. Ids
are fixed, so that two runs of one case end in the same data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Final

import redis

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Call, Delivery, NewJob
from tests.support.state import KEYS, State
from tests.support.virtual_time import Clock

JOB: Final = "job-1"
OTHER_JOB: Final = "job-2"
#: A lease that is over as soon as it begins.
ENDED: Final = -1
#: When what must not expire during a test does.
FAR_FUTURE_MS: Final = 32_503_680_000_000


class Play(State):
    """A state on a clock that stands still, so that two runs of one case can be compared."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self.empty()

    def empty(self) -> None:
        """Begin anew, at the same moment, with the scripts loaded."""
        self.client.flushdb()
        self.clock = Clock(self.client)


Prepare = Callable[[Play], Call[Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Case:
    """One script in one situation; `name` begins with the script's."""

    name: str
    prepare: Prepare

    @property
    def script(self) -> str:
        return self.name.partition(":")[0]


class CaseList(dict[str, Case]):
    """Cases by name."""

    def add(self, name: str) -> Callable[[Prepare], Prepare]:
        """Put a situation on the list, as `script` or `script: situation`."""

        def put(prepare: Prepare) -> Prepare:
            assert name not in self
            self[name] = Case(name, prepare)
            return prepare

        return put


def enqueue_call(job_id: str = JOB, **facts: Any) -> Call[Any]:
    job = NewJob(**{"id": job_id, "name": "work", "payload": '{"number": 1}', **facts})
    return scripts.enqueue(KEYS, idempotency_ms=86_400_000, actor="test", jobs=[job])


def fetch_call(count: int = 1, *, lease_ms: int = 30_000, rate_count: int = 0) -> Call[Any]:
    return scripts.fetch(
        KEYS,
        count=count,
        lease_ms=lease_ms,
        worker="w:1",
        global_concurrency=0,
        rate_count=rate_count,
        rate_period_ms=60_000,
    )


def held(state: Play, *, lease_ms: int = 30_000, **facts: Any) -> Delivery:
    """A job in a worker's hands."""
    state.enqueue(id=JOB, **facts)
    (delivery,) = state.fetch(lease_ms=lease_ms)
    return delivery


def reclaim_call(*, lost_limit: int = 3) -> Call[Any]:
    return scripts.reclaim(KEYS, count=100, lost_limit=lost_limit, lease_ms=30_000, worker="w:2")
