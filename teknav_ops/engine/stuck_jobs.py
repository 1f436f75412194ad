"""Stuck jobs: those that go on long past their time limit, which cannot or will not be interrupted.

A thread that waits in C never sees the exception of its time limit, and a processor may swallow it. Such a job would
be active for ever, since its process lives and renews its lease. Past a first grace it is shown as stuck, with its
thread's stack; past a second one the process gives all else back and starts anew, and the job's lease runs out.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import time
from pathlib import PurePath
from types import FrameType
from typing import TYPE_CHECKING, Final

import structlog
from dramatiq.middleware import TimeLimitExceeded
from dramatiq.middleware.threading import raise_thread_exception

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.failure import attempt_entry, stack_of
from teknav_ops.engine.own_process import OwnProcess
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS

if TYPE_CHECKING:
    from teknav_ops.engine.broker import TekNavBroker

log = structlog.get_logger("teknav.engine")

#: The type under which such a run stands in its job's history. No job ends with it.
STUCK: Final = "JobStuck"
_LOOK_SECONDS: Final = 5.0
_DRAIN_LOOK_SECONDS: Final = 0.05
_FLUSH_SECONDS: Final = 5.0


@dataclasses.dataclass(frozen=True, slots=True)
class Graces:
    """How long past its time limit a job is stuck, and how long after that its process is replaced."""

    stuck_seconds: float = 60.0
    replace_seconds: float = 300.0


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class RunningJob:
    """A job that a thread of this process runs now; times are monotonic."""

    message: JobMessage
    thread_id: int
    since: float
    limit_seconds: float


class StuckWatch:
    """Looks at what runs. `process` is this one, where it may be started anew; None where it may not."""

    def __init__(self, broker: TekNavBroker, graces: Graces, process: OwnProcess | None = None) -> None:
        self._broker = broker
        self._graces = graces
        self._process = process
        self._running: dict[int, RunningJob] = {}
        #: Held while something is raised in a thread, and while a job's end is noted: what has ended is left alone.
        self._ending = threading.Lock()
        self._noted: set[RunningJob] = set()
        self._stopped = threading.Event()
        self._look_seconds = max(0.02, min(_LOOK_SECONDS, graces.stuck_seconds / 4, graces.replace_seconds / 4))
        self._thread = threading.Thread(target=self._run, name="teknav-stuck-watch", daemon=True)

    def start(self) -> None:
        """Look from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and replace nothing: the process is shutting down."""
        self._stopped.set()

    def begin(self, message: JobMessage, limit_ms: float) -> None:
        """This thread begins a job."""
        me = threading.get_ident()
        self._running[me] = RunningJob(message, me, time.monotonic(), limit_ms / 1000)

    def end(self) -> None:
        """This thread's job has ended."""
        with self._ending:
            self._running.pop(threading.get_ident(), None)

    def _run(self) -> None:
        while self._goes_on(self._look_seconds):
            try:
                self.look()
            except OUTAGE_ERRORS as error:
                log.warning("redis.unreachable", error=str(error))
            except Exception:
                log.exception("stuck_watch.failed")
        if self._process is not None:
            self._process.expect_no_word()

    def _goes_on(self, pause_seconds: float) -> bool:
        """Wait, and say whether to go on. Who hears nothing of this thread for long ends the process."""
        if self._process is not None and not self._stopped.is_set():
            graces_seconds = self._graces.stuck_seconds + self._graces.replace_seconds
            self._process.expect_word_within(graces_seconds + 2 * self._broker.lease_ms / 1000)
        self._stopped.wait(pause_seconds)
        return not self._is_stopping

    @property
    def _is_stopping(self) -> bool:
        # A process hears that it should stop up to a second before Dramatiq begins with it.
        return self._stopped.is_set() or (self._process is not None and self._process.is_stopping)

    def look(self) -> None:
        """Note what is stuck, and start the process anew when that has lasted too long."""
        stuck = self._over(self._graces.stuck_seconds)
        self._noted.intersection_update(stuck)
        for job in stuck:
            if job not in self._noted:
                self._note(job)
        if self._process is not None and self._over(self._graces.stuck_seconds + self._graces.replace_seconds):
            self._start_anew(self._process)

    def _over(self, grace_seconds: float) -> list[RunningJob]:
        now = time.monotonic()
        return [job for job in list(self._running.values()) if now - job.since - job.limit_seconds >= grace_seconds]

    def _note(self, job: RunningJob) -> None:
        frame = sys._current_frames().get(job.thread_id)
        if frame is None or self._running.get(job.thread_id) is not job:
            return
        message = job.message
        words, stack = _words(job, frame), stack_of(frame, message.secrets)
        entry = attempt_entry(message.run_facts(), message.attempt, self._broker.worker_id, STUCK, words, stack)
        log.error("job.stuck", **message.log_facts(), detail=words, stack=stack)
        self._broker.runner.run(
            scripts.note_stuck(
                message.lane.keys,
                worker=self._broker.worker_id,
                job_id=message.delivery.id,
                delivery=message.delivery.delivery,
                detail=words,
                attempt=entry,
            )
        )
        self._noted.add(job)
        # Once more, for those that swallowed it by mistake and not in a loop.
        with self._ending:
            if self._running.get(job.thread_id) is job:
                raise_thread_exception(job.thread_id, TimeLimitExceeded)  # type: ignore[no-untyped-call]

    def _start_anew(self, process: OwnProcess) -> None:
        """Take nothing more, let the others end for the time of the first grace, give back what is left, and go."""
        if self._broker.desk.is_closing.is_set():
            return
        self._broker.desk.close()
        deadline = time.monotonic() + self._graces.stuck_seconds
        while self._others() and time.monotonic() < deadline:
            if not self._goes_on(_DRAIN_LOOK_SECONDS):
                return
        # What has ended must be known to have ended: during an outage that takes as long as it does.
        while not self._broker.finisher.flush(_FLUSH_SECONDS):
            if not self._goes_on(_DRAIN_LOOK_SECONDS):
                return
        self._broker.desk.await_fetches(_FLUSH_SECONDS)
        if self._is_stopping:
            # Dramatiq's own grace counts, and what is given back is begun elsewhere while it still runs here.
            return
        lost = {(job.message.delivery.id, job.message.delivery.delivery) for job in self._stuck()}
        log.error("worker.replaced", job_ids=sorted(job_id for job_id, _ in lost))
        self._broker.release_all(but=lost)
        process.start_anew()

    def _stuck(self) -> set[RunningJob]:
        return set(self._over(self._graces.stuck_seconds))

    def _others(self) -> set[RunningJob]:
        return set(self._running.values()) - self._stuck()


def _words(job: RunningJob, frame: FrameType) -> str:
    past_seconds = time.monotonic() - job.since - job.limit_seconds
    file, code = PurePath(frame.f_code.co_filename), frame.f_code
    return (
        f"still runs {past_seconds:.0f} s past its time limit of {job.limit_seconds:g} s, "
        f"at {file.parent.name}/{file.name}:{frame.f_lineno} in {code.co_name}"
    )
