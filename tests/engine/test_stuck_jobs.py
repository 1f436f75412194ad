"""Jobs that go on past their time limit, whatever is raised in them: shown, interrupted again, at last left behind."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import redis
from dramatiq.middleware import TimeLimitExceeded
from structlog.testing import capture_logs

from teknav_ops.engine.middleware.stuck_jobs import StuckJobs
from teknav_ops.engine.middleware.time_limit import TimeLimits
from teknav_ops.engine.processor import JobContext
from teknav_ops.engine.stuck_jobs import Graces
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.worker_queries import WorkerQueries
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.topology import Queue, Topology
from tests.conftest import SECRET_KEY
from tests.support.engine import Engine
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.topology import FAST_RETRY, TOPOLOGY, Work
from tests.support.waiting import ANSWER_SECONDS, until
from tests.support.workers import Workers

QUEUE = "test:work"
HASTY = Topology(
    Queue(name=QUEUE, purpose="x", jobs={"work": Work}, concurrency=2, time_limit_ms=50, retry=FAST_RETRY),
    Queue(name="test:other", purpose="x", jobs={"other": Work}, concurrency=1),
)


@pytest.fixture
def hasty(redis_server: RedisServer, cipher: Cipher) -> Iterator[Engine]:
    """Its jobs are stuck after a tenth of a second, and its process would be replaced soon after."""
    engine = Engine(redis_server.url, cipher, topology=HASTY, graces=Graces(0.05, 0.1))
    yield engine
    engine.close()


@pytest.fixture
def accepts(client: redis.Redis, cipher: Cipher) -> Producer:
    return Producer(client, cipher=cipher, topology=HASTY)  # type: ignore[arg-type]


def test_a_job_past_its_limit_is_shown_as_stuck_with_its_stack_until_its_run_ends(
    hasty: Engine, accepts: Producer, queries: JobQueries, client: redis.Redis
) -> None:
    may_end = threading.Event()

    def wait_in_c(job: Work, ctx: JobContext[None]) -> None:
        may_end.wait(60)

    hasty.behaviour = lambda job, ctx: wait_in_c(job, ctx) if ctx.delivery == 1 else None
    job_id = accepts.enqueue(QUEUE, "work", {"number": 1}).job_id
    with hasty.working():
        record = until(lambda: (found := queries.get(QUEUE, job_id)).stuck_at and found, what="the note")
        (held,) = until(lambda: WorkerQueries(client, TOPOLOGY).all())[0].running  # type: ignore[arg-type]
        may_end.set()
        hasty.broker.join(QUEUE, timeout=60_000)

    (attempt,) = record.attempts
    assert record.state is JobState.ACTIVE and held.stuck_at == record.stuck_at
    assert (attempt.attempt, attempt.error_type) == (1, "JobStuck") and "in wait_in_c" in attempt.stack
    assert attempt.error.startswith("still runs 0 s past its time limit of 0.05 s, at ")
    # What was raised in it comes through at last, and the run's true end takes the note's place.
    ended = queries.get(QUEUE, job_id)
    assert (ended.state, ended.stuck_at) == (JobState.COMPLETED, None)
    assert [run.error_type for run in ended.attempts] == ["TimeLimitExceeded"]
    assert State(client).actions().count("job.stuck") == 1


def test_a_job_that_swallows_its_time_limit_once_is_interrupted_again(
    hasty: Engine, accepts: Producer, queries: JobQueries
) -> None:
    interrupted, never = 0, threading.Event()

    def swallow(job: Work, ctx: JobContext[None]) -> None:
        nonlocal interrupted
        for _ in range(2):
            with contextlib.suppress(TimeLimitExceeded):
                while True:
                    never.wait(0.005)
            interrupted += 1

    hasty.behaviour = swallow
    limits = next(part for part in hasty.broker.middleware if isinstance(part, TimeLimits))
    limits.manager.interval = 0.01
    limits.manager.start()
    accepts.enqueue(QUEUE, "work", {"number": 1})
    with hasty.working():
        hasty.broker.join(QUEUE, timeout=60_000)

    assert interrupted == 2 and queries.counts(QUEUE).completed == 1


class Noted:
    """In place of the test's own process, which must stay: what was so when it would have started anew."""

    def __init__(self, look: Any) -> None:
        self._look = look
        self.seen: list[Any] = []
        self.expected_seconds = 0.0
        self.is_stopping = False

    def expect_word_within(self, seconds: float) -> None:
        self.expected_seconds = seconds

    def expect_no_word(self) -> None:
        self.expected_seconds = 0.0

    def start_anew(self) -> None:
        self.seen.append(self._look())


def test_before_its_process_starts_anew_others_may_end_and_all_but_the_stuck_job_goes_back(
    hasty: Engine, accepts: Producer, queries: JobQueries
) -> None:
    may_end = threading.Event()
    hasty.behaviour = lambda job, ctx: may_end.wait(60) and None
    stuck = accepts.enqueue(QUEUE, "work", {"number": 1}).job_id
    beside = accepts.enqueue("test:other", "other", {"number": 2}).job_id
    process = Noted(lambda: (queries.get(QUEUE, stuck), queries.get("test:other", beside), hasty.broker.held_counts()))
    watch = next(part for part in hasty.broker.middleware if isinstance(part, StuckJobs))
    watch._process = process  # type: ignore[assignment]
    with hasty.working(threads=2):
        until(lambda: process.seen, what="the moment to start anew")
        assert process.expected_seconds > 60
        may_end.set()

    left, returned, held = process.seen[0]
    assert (left.state, returned.state) == (JobState.ACTIVE, JobState.WAITING)
    assert held == {QUEUE: 1, "test:other": 0} and hasty.broker.desk.is_closing.is_set()
    assert process.expected_seconds == 0


class ToldToStop(Noted):
    """It is told to stop when the others may just end."""

    is_stopping = property(lambda self: self._look(), lambda self, value: None)


def test_told_to_stop_before_it_starts_anew_a_process_gives_nothing_back_and_is_not_replaced(
    hasty: Engine, accepts: Producer, queries: JobQueries
) -> None:
    may_end = threading.Event()
    hasty.behaviour = lambda job, ctx: may_end.wait(60) and None
    accepts.enqueue(QUEUE, "work", {"number": 1})
    beside = accepts.enqueue("test:other", "other", {"number": 2}).job_id
    process = ToldToStop(hasty.broker.desk.is_closing.is_set)
    watch = next(part for part in hasty.broker.middleware if isinstance(part, StuckJobs))
    watch._process = process  # type: ignore[assignment]
    with capture_logs() as logs, hasty.working(threads=2):
        until(lambda: hasty.broker.desk.is_closing.is_set(), what="the moment to let the others end")
        until(lambda: process.seen or not watch._watch._thread.is_alive(), what="the end of the watch")  # type: ignore[union-attr]
        # Dramatiq gives it its own time to end.
        assert queries.get("test:other", beside).state is JobState.ACTIVE
        may_end.set()

    assert process.seen == [] and "worker.replaced" not in [entry["event"] for entry in logs]
    assert queries.get("test:other", beside).delivery == 1 and len(hasty.runs) == 2


@pytest.fixture
def workers(redis_server: RedisServer, tmp_path: Path) -> Iterator[Workers]:
    # One lost run ends a job here: the lease of one that is not stuck must outlast a stalled machine.
    fleet = Workers(redis_server.url, tmp_path, SECRET_KEY, lease_seconds=2)
    yield fleet
    fleet.stop_all()


def test_a_worker_process_with_a_stuck_job_starts_anew_in_its_place_and_its_master_sees_nothing(
    workers: Workers, producer: Producer, queries: JobQueries
) -> None:
    stuck = producer.enqueue(QUEUE, "work", {"number": 1, "seconds": 600}).job_id
    master = workers.start(
        threads=2, TEST_TIME_LIMIT_MS="300", TEKNAV_STUCK_GRACE_SECONDS="0.2", TEKNAV_STUCK_REPLACE_SECONDS="0.2",
        TEKNAV_LOST_WORKER_LIMIT="1",
    )  # fmt: skip
    until(lambda: queries.get(QUEUE, stuck).state is JobState.FAILED, what="the loss of the stuck job")
    # Not of the kind with the short time limit, and longer than that: it would be stuck where a disk is slow.
    after = producer.enqueue("test:other", "other", {"number": 2, "seconds": 1}).job_id
    until(lambda: queries.get("test:other", after).finished_at, what="the end of a job of the new process")

    record, then = queries.get(QUEUE, stuck), queries.get("test:other", after)
    assert then.state is JobState.COMPLETED, then
    assert (record.error_type, then.worker) == ("WorkerLost", record.attempts[0].worker), workers.logs()
    assert [run.error_type for run in record.attempts] == ["JobStuck", "WorkerLost"]
    assert "in work" in record.attempts[0].stack
    # As Dramatiq starts it: one worker, beside the tracker of its semaphores.
    pid = int((then.worker or "").rpartition(":")[2])
    assert pid in {child.pid for child in psutil.Process(master.pid).children()}
    master.send_signal(signal.SIGTERM)
    assert master.wait(60) == 0


_HOLDS_THE_LOCK = """
import ctypes
from teknav_ops.engine.own_process import OwnProcess
OwnProcess().expect_word_within(0.2)
ctypes.PyDLL(None).usleep(600_000_000)
"""


def test_a_process_whose_threads_cannot_run_ends_and_says_where_it_was() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _HOLDS_THE_LOCK], capture_output=True, text=True, timeout=ANSWER_SECONDS
    )

    assert ended.returncode == 1 and "Timeout" in ended.stderr and 'File "<string>", line 5' in ended.stderr
