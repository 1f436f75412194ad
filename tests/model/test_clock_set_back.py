"""What holds when the server's clock is set back, by milliseconds up to an hour, at any moment.

Nothing is lost, doubled or taken from a living worker; what hangs on a moment (a delay, a lease, a rate window) comes
later by at most what the clock was set back. `elapsed` is the time that really passed, which no clock shows.
"""

from __future__ import annotations

import dataclasses

import redis
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.scripts import Delivery
from tests.model.played_queue import PlayedQueue, play
from tests.model.stage import picks
from tests.support.invariants import broken_promises
from tests.support.queue_dump import dump_queue
from tests.support.scale import scaled
from tests.support.state import KEYS
from tests.support.virtual_time import Clock

LEASE_MS = 30_000
LONGEST_DELAY_MS = 60_000
PERIOD_MS = 10_000
#: A clock that is behind the newest turn by more makes turns begin anew (lua/parts/arriving.lua).
TURNS_KEEP_MS = 60_000

set_back = st.sampled_from([1, 1_000, 59_000, 61_000, 3_600_000])


@dataclasses.dataclass
class Known:
    """A job, as its producer and its worker know it."""

    priority: int
    #: Which of the arrivals it was; None once it was delayed, so that its place is another.
    arrival: int | None
    #: Turns are in order between jobs of one era.
    era: int
    #: The hand-over in force, and when it was made, by the time that passed; None while nobody has it.
    held: Delivery | None = None
    leased_at: int = 0
    is_ended: bool = False


class ClockSetBack(PlayedQueue):
    """What is known of a queue's jobs from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: dict[str, Known] = {}
        self.elapsed = self.set_back_ms = self.era = self.newest_arrival_ms = self.rate_count = 0
        self.handed_at: list[int] = []

    @initialize(rate_count=st.sampled_from([0, 0, 2]))
    def limit(self, rate_count: int) -> None:
        self.rate_count = rate_count

    @rule(priority=st.sampled_from([0, 0, 1]), delay_ms=st.sampled_from([0, 0, 0, 1_000, LONGEST_DELAY_MS]))
    def enqueue(self, priority: int, delay_ms: int) -> None:
        number = len(self.jobs)
        job_id = self.state.enqueue(id=f"{number * 7_919 % 1_000:03}-{number}", priority=priority, delay_ms=delay_ms)
        if not delay_ms:
            if self.newest_arrival_ms >= self.clock.now_ms + TURNS_KEEP_MS:
                self.era, self.newest_arrival_ms = self.era + 1, 0
            self.newest_arrival_ms = max(self.newest_arrival_ms, self.clock.now_ms)
        self.jobs[job_id] = Known(priority, None if delay_ms else number, self.era)

    @precondition(lambda self: self.jobs)
    @rule(count=st.integers(1, 3))
    def fetch(self, count: int) -> None:
        self._fetch(count, self.rate_count)

    def _fetch(self, count: int, rate_count: int) -> int:
        fetched = self.state.fetch(count, lease_ms=LEASE_MS, rate_count=rate_count, rate_period_ms=PERIOD_MS)
        for delivery in fetched:
            job = self.jobs[delivery.id]
            assert job.held is None and not job.is_ended, "a job is handed out that a worker has, or that has ended"
            job.held, job.leased_at = delivery, self.elapsed
            self._check_order(job)
        if rate_count:
            self.handed_at += [self.elapsed] * len(fetched)
            assert sum(at > self.elapsed - PERIOD_MS for at in self.handed_at) <= rate_count
        return len(fetched)

    def _check_order(self, taken: Known) -> None:
        """Nothing waits, or comes behind it, that is more urgent, or arrived earlier in the same era."""
        left = [job for job in self.jobs.values() if not job.held and not job.is_ended and job.arrival is not None]
        assert all(job.priority >= taken.priority for job in left)
        if taken.arrival is not None:
            equals = [job for job in left if (job.priority, job.era) == (taken.priority, taken.era)]
            assert all(job.arrival > taken.arrival for job in equals)

    def _held(self, pick: int) -> list[Known]:
        held = [job for job in self.jobs.values() if job.held]
        return held and [held[pick % len(held)]]

    @rule(pick=picks)
    def complete(self, pick: int) -> None:
        for job in self._held(pick):
            assert self.state.complete(job.held) == [1], "the end of a job is refused to the worker that has it"
            job.held, job.is_ended = None, True

    @rule(pick=picks)
    def release(self, pick: int) -> None:
        for job in self._held(pick):
            assert self.state.run(scripts.release(KEYS, held=[(job.held.id, job.held.delivery)])) == 1
            job.held = None

    @rule(pick=picks, delay_ms=st.sampled_from([0, 1_000, LONGEST_DELAY_MS]))
    def postpone(self, pick: int, delay_ms: int) -> None:
        for job in self._held(pick):
            assert self.state.postpone(job.held, delay_ms=delay_ms) == 1
            job.held = job.arrival = None

    @rule(pick=picks)
    def extend(self, pick: int) -> None:
        for job in self._held(pick):
            held = [(job.held.id, job.held.delivery)]
            assert self.state.run(scripts.extend_leases(KEYS, worker="w:1", lease_ms=LEASE_MS, held=held)).lost == []
            job.leased_at = self.elapsed

    @rule()
    def reclaim(self) -> None:
        call = scripts.reclaim(KEYS, count=100, lost_limit=1_000, lease_ms=LEASE_MS, worker="keeper")
        assert self.state.run(call).doomed == []
        active = set(self.client.zrange(KEYS.active, 0, -1))
        for job in [job for job in self.jobs.values() if job.held and job.held.id not in active]:
            assert self.elapsed - job.leased_at >= LEASE_MS, "a job is taken from a worker within its lease"
            job.held = None

    @rule(ms=set_back)
    def the_clock_is_set_back(self, ms: int) -> None:
        self.set_back_ms += ms
        self.clock.advance(-ms / 1000)

    @rule(ms=st.sampled_from([1, 1_000, PERIOD_MS, LEASE_MS]))
    def time_passes(self, ms: int) -> None:
        self.elapsed += ms
        self.clock.advance(ms / 1000)

    @precondition(lambda self: any(job.held for job in self.jobs.values()))
    @rule(ms=set_back)
    def the_clock_is_set_back_under_a_lease(self, ms: int) -> None:
        """Its keeper looks when it is nearly over."""
        self.the_clock_is_set_back(ms)
        self.time_passes(LEASE_MS - 1)
        self.reclaim()
        self.time_passes(ms + 1)
        self.reclaim()

    @precondition(lambda self: self.rate_count)
    @rule(ms=set_back)
    def the_clock_is_set_back_under_a_limit(self, ms: int) -> None:
        """The first look after it begins the period after which a job goes again."""
        for _ in range(self.rate_count + 1):
            self.enqueue(0, 0)
        self._fetch(self.rate_count, self.rate_count)
        self.the_clock_is_set_back(ms)
        self._fetch(1, self.rate_count)
        self.time_passes(PERIOD_MS)
        assert self._fetch(1, self.rate_count) == 1, "a limited queue stands for more than a period"

    @invariant()
    def each_job_is_in_one_place_and_counted(self) -> None:
        dump = dump_queue(self.client, KEYS)
        assert broken_promises(dump) == []
        assert dump.jobs().keys() == self.jobs.keys()
        assert set(dump.scores(KEYS.active)) == {job_id for job_id, job in self.jobs.items() if job.held}
        assert set(dump.scores(KEYS.completed)) == {job_id for job_id, job in self.jobs.items() if job.is_ended}
        counts = self.state.run(scripts.queue_counts(KEYS, heartbeat_ms=60_000))
        places = counts.waiting + counts.active + counts.delayed + counts.completed
        assert (places, counts.corrupt) == (len(self.jobs), 0)
        assert (counts.oldest_waiting_age_ms or 0) >= 0 and counts.audit_lag_ms >= 0
        assert all(int(job.get("waited_ms", 0)) >= 0 for job in dump.jobs().values())

    def teardown(self) -> None:
        """After the longest delay, and what the clock was set back, each job comes: once."""
        self.time_passes(LONGEST_DELAY_MS + LEASE_MS + self.set_back_ms)
        self.reclaim()
        self._fetch(1_000, 0)
        assert all(job.held or job.is_ended for job in self.jobs.values()), "a job does not come back"


def test_a_clock_that_is_set_back_loses_doubles_and_disorders_nothing(client: redis.Redis, clock: Clock) -> None:
    play(ClockSetBack, client, examples=scaled(12), steps=40)
