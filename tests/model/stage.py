"""What the rules of the play share: the engine and its model side by side, and how a rule picks what it acts on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import rule

from teknav_ops.redis_state.scripts import Delivery
from tests.model.batch_replays import BatchReplays
from tests.model.engine_model import EngineModel
from tests.model.played_queue import PlayedQueue
from tests.model.records import Limits

LEASE_MS = 30_000
KEPT = 3
LOST_LIMIT = 3
HOUR_MS = 3_600_000
#: Between a minute and an hour, so that keys expire in play.
IDEMPOTENCY_MS = 600_000
#: Likewise, so that batch replays do.
BATCH_KEPT_MS = 900_000

#: Drawn whether or not there is anything to pick from: how much is drawn must not hang on the state.
picks = st.integers(0, 999)
causes = st.sampled_from(["ValueError", "KeyError"])
T = TypeVar("T")
priorities = st.sampled_from([-9, -1, 1, 9])
workers = st.sampled_from(["w:1", "w:2"])
# Two in a second: what a window that begins anew lets through at its edge is seen after four jobs.
rates = st.sampled_from([(0, 0), (0, 0), (1, HOUR_MS), (2, 10_000), (2, 1_000), (2, 1_000)])


def choose(pick: int, likely: list[T], all_of_them: list[T]) -> T:
    """Three in four times one of those that are likely to matter."""
    where = likely if likely and pick % 4 else all_of_them
    return where[pick // 4 % len(where)]


def there_is(*states: str) -> Callable[[Stage], bool]:
    """Whether a rule has something to act on; those that have not would use up most steps."""
    return lambda self: any(job.state in states for job in self.model.jobs.values())


has_work = there_is("active", "waiting")


class Stage(PlayedQueue):
    """Both sides, at their beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.model = EngineModel(self.clock.now_ms, idempotency_ms=IDEMPOTENCY_MS, kept=KEPT, lost_limit=LOST_LIMIT)
        self.replays = BatchReplays(self.model, kept_ms=BATCH_KEPT_MS)
        self.batch_count = 0
        self.limits = Limits()
        self.ids: list[str] = ["no such job"]
        #: Every hand-over there was, so that those of the past are tried too.
        self.deliveries: list[Delivery] = []

    def known(self, pick: int, *states: str) -> str:
        """A job: three in four are in one of the states, where there is one."""
        fitting = [job_id for job_id in self.ids[1:] if self.model.state_of(job_id) in states]
        return choose(pick, fitting, self.ids)

    @rule(ms=st.sampled_from([1, 500, 500, 999, 1_000, 10_000, 60_000, HOUR_MS, 25 * HOUR_MS]))
    def time_passes(self, ms: int) -> None:
        self.clock.advance(ms / 1000)
        self.model.advance(ms)
        self.replays.forget_expired()
