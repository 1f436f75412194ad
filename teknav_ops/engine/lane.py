"""Lanes and the desk: how many jobs this process may hold, per queue and in all.

A process has one desk and a lane per queue. Worker threads serve all queues, so a lane may only
hand over a job while its own concurrency and the process's threads allow it: otherwise one
process would hoard slow jobs while another is idle.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Delivery, Fetched
from teknav_ops.topology import Queue

if TYPE_CHECKING:
    from teknav_ops.engine.delivery import JobMessage

#: A lane of jobs shorter than this may have jobs ready beyond the running ones.
FAST_MS: Final = 20.0
#: How much work, in time, may be ready per thread, and how many jobs at most.
READY_MS: Final = 20.0
MOST_READY: Final = 32
#: How much work, in time, a fast lane may read ahead.
READ_AHEAD_MS: Final = 50.0
MOST_FETCHED: Final = 256
#: A job that has outlived so many workers runs beside no other such job. After its first loss it is one of many that a
#: worker held when it ended, and they run side by side.
SUSPECT_AFTER_LOSSES: Final = 2
#: Marks at which waiting lanes are woken: at every place that comes free, or never, since none waits.
_ALWAYS: Final = 2**31
_NEVER: Final = -1
#: Weight of the newest run in the moving average of durations.
_NEWEST_WEIGHT: Final = 0.05


class Lane:
    """One queue in this process: jobs fetched but not handed over, and all those it holds."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.keys = QueueKeys(queue.name)
        self.limit = queue.concurrency
        self.is_limited_globally = False
        self.handed_count = 0
        #: Set while there may be something to fetch.
        self.bell = threading.Event()
        self.bell.set()
        #: When something falls due by itself, by the monotonic clock.
        self.due_at: float | None = None
        self.average_ms: float | None = None
        #: Fetched, not yet handed to a worker thread. Only the consumer thread touches it.
        self.buffer: deque[Delivery] = deque()
        #: job id -> delivery, from fetch until the finish is committed: the leases to extend.
        self.held: dict[str, int] = {}

    @property
    def is_fast(self) -> bool:
        """Whether reading ahead pays and cannot hoard."""
        return self.average_ms is not None and self.average_ms < FAST_MS and not self.is_limited_globally

    @property
    def ready_factor(self) -> int:
        """How many jobs may be handed over per thread: handing over one by one costs two thread switches each."""
        if not self.is_fast or self.average_ms is None:
            return 1
        return int(max(2, min(MOST_READY, READY_MS / max(self.average_ms, 0.05))))

    def may_have_work(self) -> bool:
        """Whether a fetch may bring something: somebody rang, or something is due."""
        return self.bell.is_set() or (self.due_at is not None and time.monotonic() >= self.due_at)

    def take_in(self, fetched: Fetched) -> None:
        """Keep what a fetch answered."""
        self.limit = fetched.concurrency or self.queue.concurrency
        self.is_limited_globally = fetched.is_limited_globally
        due_ms = fetched.look_again_ms
        self.due_at = None if due_ms is None else time.monotonic() + due_ms / 1000
        for delivery in fetched.deliveries:
            self.held[delivery.id] = delivery.delivery
        self.buffer.extend(fetched.deliveries)
        if fetched.deliveries:
            self.bell.set()

    def observe(self, duration_ms: float) -> None:
        """Let a run's duration count towards the lane's average."""
        if self.average_ms is None:
            self.average_ms = duration_ms
        else:
            self.average_ms += _NEWEST_WEIGHT * (duration_ms - self.average_ms)

    def let_go(self, job_id: str, delivery: int) -> None:
        """A finish was committed or refused. The same job may be here again under a newer delivery."""
        if self.held.get(job_id) == delivery:
            del self.held[job_id]

    def drop(self, job_ids: list[str]) -> None:
        """Forget jobs that are no longer ours, before they are begun where possible."""
        for job_id in job_ids:
            self.held.pop(job_id, None)
        if job_ids:
            lost = set(job_ids)
            kept = [delivery for delivery in list(self.buffer) if delivery.id not in lost]
            self.buffer = deque(kept)


class Desk:
    """Gives lanes leave to hand over jobs, and hears when they are done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._handed_count = 0
        self._wake_at = _NEVER
        self._fetch_count = 0
        #: The one running job that has outlived several workers, if any.
        self._suspect: str | None = None
        self._lanes: list[Lane] = []
        self.thread_count = 8
        self.is_closing = threading.Event()

    def admitted(self, lane: Lane) -> Lane:
        """The lane, which is woken when the process shuts down."""
        self._lanes.append(lane)
        return lane

    def has_place(self, lane: Lane) -> bool:
        """Whether the lane could take one more job."""
        with self._changed:
            return self._has_place(lane)

    def reserve(self, lane: Lane, timeout_seconds: float) -> bool:
        """Take a place for one job of this lane, waiting for one to come free."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._has_place(lane):
                left = deadline - time.monotonic()
                if left <= 0 or self.is_closing.is_set():
                    return False
                self._wake_at = max(self._wake_at, self._mark_of(lane))
                if not self._changed.wait(left):
                    return False
            lane.handed_count += 1
            self._handed_count += 1
            return True

    def _has_place(self, lane: Lane) -> bool:
        # A limit below the thread count must hold strictly; above it the threads themselves are the limit.
        lane_limit = lane.limit if lane.limit < self.thread_count else lane.limit * lane.ready_factor
        return lane.handed_count < lane_limit and self._handed_count < self.thread_count * lane.ready_factor

    def _mark_of(self, lane: Lane) -> int:
        """A fast lane is refilled when half of what was ready is gone, not after each job."""
        if lane.is_fast and lane.limit >= self.thread_count:
            return self.thread_count * lane.ready_factor // 2
        return _ALWAYS

    def occupy(self, lane: Lane) -> None:
        """Take a place without asking, for a job that will give it back at once."""
        with self._changed:
            lane.handed_count += 1
            self._handed_count += 1

    def try_suspect(self, delivery: Delivery) -> bool:
        """Leave to begin a job that has outlived several workers: one at a time, so that a poison pill dies alone.

        Otherwise jobs that only ran beside it would be counted as the cause as often as it is.
        """
        with self._changed:
            if self._suspect is None:
                self._suspect = delivery.id
            return self._suspect == delivery.id

    @property
    def has_suspect(self) -> bool:
        """Whether such a job runs."""
        return self._suspect is not None

    def clear(self, delivery: Delivery) -> None:
        """The suspect has ended, or was not begun after all: there is room for another, of whichever queue."""
        with self._changed:
            if self._suspect != delivery.id:
                return
            self._suspect = None
        for lane in self._lanes:
            lane.bell.set()

    def give_back(self, lane: Lane) -> None:
        """A place is free again."""
        with self._changed:
            lane.handed_count -= 1
            self._handed_count -= 1
            if self._handed_count <= self._wake_at:
                self._wake_at = _NEVER
                self._changed.notify_all()

    def done(self, message: JobMessage, duration_ms: float) -> None:
        """A run ended: its place is free."""
        message.lane.observe(duration_ms)
        if message.delivery.lost:
            self.clear(message.delivery)
        self.give_back(message.lane)

    def fetch_count(self, lane: Lane) -> int:
        """How many jobs to ask for: the free places, and a short read-ahead on a fast lane."""
        with self._changed:
            free = 1 + min(lane.limit - lane.handed_count, self.thread_count - self._handed_count)
        if lane.is_fast and lane.average_ms is not None:
            ahead = int(READ_AHEAD_MS / max(lane.average_ms, 0.05)) * min(lane.limit, self.thread_count)
            return max(1, free, min(ahead, MOST_FETCHED))
        return max(1, free)

    @contextmanager
    def fetching(self) -> Iterator[bool]:
        """Whether a fetch may begin; it lasts until the block ends. None begins once the process shuts down."""
        with self._changed:
            may_fetch = not self.is_closing.is_set()
            self._fetch_count += may_fetch
        try:
            yield may_fetch
        finally:
            with self._changed:
                self._fetch_count -= may_fetch
                if self.is_closing.is_set():
                    self._changed.notify_all()

    def await_fetches(self, timeout_seconds: float) -> bool:
        """After `close`: wait for fetches under way, whose jobs may be under our leases already. False: one lasts."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._fetch_count, timeout_seconds)

    def open(self, thread_count: int) -> None:
        """Begin handing over to so many threads."""
        self.thread_count = thread_count
        self.is_closing.clear()

    def close(self) -> None:
        """Stop handing over: the process is shutting down."""
        self.is_closing.set()
        with self._changed:
            self._changed.notify_all()
        for lane in self._lanes:
            lane.bell.set()
