"""The finisher: commits outcomes in groups.

Worker threads hand in outcomes and go on. One thread commits whatever has gathered in one
round trip (beginnings, where they are asked for, in one of their own before it); while that is under way the next
group gathers. Until its commit, a job stays active
under its lease, so a process that dies here loses nothing: the job is handed out again.
"""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
from collections import defaultdict
from typing import Any, Final

import structlog

from teknav_ops.engine.delivery import JobMessage
from teknav_ops.engine.failure import describe
from teknav_ops.engine.lane import Desk, Lane
from teknav_ops.engine.outcome import Complete, GiveUp
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.redis_state.scripts import Call, Run, ScriptRunner

log = structlog.get_logger("teknav.engine")

#: Jobs in one script call: bounds how long the server is busy with one.
GROUP_LIMIT: Final = 100
#: While finishes come thick, so long is waited for a group; a lone one is committed at once.
_GATHER_SECONDS: Final = 0.002
_RETRY_SECONDS: Final = 0.25
_STALE: Final = 0

#: A call, the lane it belongs to, and the runs that leave the lane with it.
_Commit = tuple[Call[Any], Lane, list[Run]]


@dataclasses.dataclass(slots=True)
class _Begun:
    lane: Lane
    job_id: str
    delivery: int


class Finisher:
    """Commits outcomes; `flush` waits until all that was handed in is committed."""

    def __init__(self, runner: ScriptRunner, desk: Desk, worker: str) -> None:
        self._runner = runner
        self._desk = desk
        self._worker = worker
        self._inbox: queue.SimpleQueue[tuple[Lane, Run, JobMessage | None, Any] | _Begun | threading.Event | None]
        self._inbox = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="teknav-finisher", daemon=True)
        self._thread.start()
        #: Finishes refused because the job had gone to another worker.
        self.stale_count = 0

    def submit(self, message: JobMessage) -> None:
        """Hand in a finished run. The record will be built from facts taken now."""
        run = message.run_facts()
        outcome = message.outcome
        try:
            if isinstance(outcome, Complete):
                self._inbox.put((message.lane, run, None, outcome.result))
            else:
                self._inbox.put((message.lane, run, message, self._failure_call(message, run)))
        except Exception:
            # No lease may be extended for a job that nobody will finish: it runs out, and the job is handed out again.
            message.lane.let_go(run.job_id, run.delivery)
            log.exception("finish.unwritten", queue=message.lane.queue.name, job_id=run.job_id)
        finally:
            self._desk.done(message, run.duration_ms)

    def note_started(self, message: JobMessage) -> None:
        """Have the run's beginning written into the audit trail, with the next group and before its finish."""
        self._inbox.put(_Begun(message.lane, message.delivery.id, message.delivery.delivery))

    def flush(self, timeout_seconds: float) -> bool:
        """Wait for everything handed in so far; False when Redis did not take it in time."""
        committed = threading.Event()
        self._inbox.put(committed)
        return committed.wait(timeout_seconds)

    def close(self) -> None:
        """Let the thread end after what is in its inbox."""
        self._inbox.put(None)
        self._thread.join(timeout=5)

    def _failure_call(self, message: JobMessage, run: Run) -> Call[int]:
        outcome, lane = message.outcome, message.lane
        assert outcome is not None and not isinstance(outcome, Complete)
        failure = describe(
            run, outcome.exception, attempt=message.attempt, worker=self._worker, secrets=message.secrets
        )
        if isinstance(outcome, GiveUp):
            return scripts.dead_letter(
                lane.keys, worker=self._worker, run=run, failure=failure, failed_kept=lane.queue.failed_kept
            )
        return scripts.postpone(
            lane.keys, worker=self._worker, run=run, failure=failure,
            delay_ms=outcome.delay_ms, uses_attempt=outcome.uses_attempt, series=outcome.series,
        )  # fmt: skip

    def _run(self) -> None:
        is_open, was_busy = True, False
        while is_open:
            items = [self._inbox.get()]
            if was_busy:
                time.sleep(_GATHER_SECONDS)
            while len(items) < 4 * GROUP_LIMIT:
                try:
                    items.append(self._inbox.get_nowait())
                except queue.Empty:
                    break
            is_open, was_busy = None not in items, len(items) > 1
            # Apart from each other: what a server has to be given anew runs after the rest of its round trip.
            self._commit(self._beginnings(items))
            self._commit(self._ends(items))
            for item in items:
                if isinstance(item, threading.Event):
                    item.set()

    def _beginnings(self, items: list[Any]) -> list[_Commit]:
        begun: dict[Lane, list[tuple[str, int]]] = defaultdict(list)
        for item in items:
            if isinstance(item, _Begun):
                begun[item.lane].append((item.job_id, item.delivery))
        return [
            (scripts.note_started(lane.keys, worker=self._worker, begun=jobs[first : first + GROUP_LIMIT]), lane, [])
            for lane, jobs in begun.items()
            for first in range(0, len(jobs), GROUP_LIMIT)
        ]

    def _ends(self, items: list[Any]) -> list[_Commit]:
        completed: dict[Lane, list[tuple[Run, str]]] = defaultdict(list)
        commits: list[_Commit] = []
        for item in items:
            if isinstance(item, tuple):
                lane, run, failed, rest = item
                if failed is None:
                    completed[lane].append((run, rest))
                else:
                    commits.append((rest, lane, [run]))
        for lane, runs in completed.items():
            starts = range(0, len(runs), GROUP_LIMIT)
            commits += [self._complete_commit(lane, runs[first : first + GROUP_LIMIT]) for first in starts]
        return commits

    def _complete_commit(self, lane: Lane, runs: list[tuple[Run, str]]) -> _Commit:
        call = scripts.complete(
            lane.keys, worker=self._worker, completed_kept=lane.queue.completed_kept,
            wakes=lane.is_limited_globally, runs=runs,
        )  # fmt: skip
        return call, lane, [run for run, _ in runs]

    def _commit(self, commits: list[_Commit]) -> None:
        while commits:
            try:
                answers = self._runner.run_many([call for call, _, _ in commits])
            except OUTAGE_ERRORS as error:
                answers = [error] * len(commits)
            except Exception as error:
                # One that cannot be sent would stop the others with it, for ever.
                log.error("finish.unsent", job_count=len(commits), error=f"{type(error).__name__}: {error}")
                answers = [self._answer(call) for call, _, _ in commits]
            again = []
            for commit, answer in zip(commits, answers, strict=True):
                if isinstance(answer, OUTAGE_ERRORS):
                    again.append(commit)
                else:
                    self._settle(commit, answer)
            commits = again
            if commits:
                # The scripts recognise a delivery they have finished: sending again is safe.
                log.warning("redis.unreachable", waiting_to_commit=len(commits))
                time.sleep(_RETRY_SECONDS)

    def _answer(self, call: Call[Any]) -> Any:
        try:
            return self._runner.run(call)
        except Exception as error:
            return error

    def _settle(self, commit: _Commit, answer: Any) -> None:
        _, lane, runs = commit
        for run in runs:
            lane.let_go(run.job_id, run.delivery)
        if isinstance(answer, Exception):
            # Not an outage: the record is damaged. Its lease runs out and reclaiming sets it aside.
            log.error("finish.failed", queue=lane.queue.name, job_count=len(runs), error=str(answer))
            return
        if not runs:
            return
        statuses = answer if isinstance(answer, list) else [answer]
        for run, status in zip(runs, statuses, strict=True):
            if status == _STALE:
                self.stale_count += 1
                log.warning("finish.stale", queue=lane.queue.name, job_id=run.job_id, delivery=run.delivery)
