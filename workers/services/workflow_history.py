"""What has happened to a run, and the only way to add to it.

Whoever works on a run holds a number, its tick, that the row carries. Every write asks for that number, so a
worker that was overtaken (its lease ran out, and another one took the job) can write nothing any more.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.errors import PermanentError, TransientError
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WorkflowRun, WorkflowStepExecution
from teknav_ops.storage.tables.base import utc_now

EXECUTION_LIMIT: Final = 2_000
#: What a run that has reached the limit may still write, to undo what was done.
_UNDOING_LIMIT: Final = 2 * EXECUTION_LIMIT


class RunTakenOver(TransientError):
    """Another worker has this run now."""


class RunCancelled(Exception):
    """An operator cancelled the run; nothing more is begun."""


class WorkflowTooLong(PermanentError):
    """The run has more step executions than a run may have."""


@dataclasses.dataclass(frozen=True, slots=True)
class StepState:
    """The newest thing that happened at a path, and when its present attempt began."""

    step_id: str
    kind: str
    sequence: int
    status: str
    attempt: int
    input: Any
    output: Any
    error_type: str | None
    error: str | None
    child_queue: str | None
    child_job_id: str | None
    at: datetime
    due_at: datetime | None
    began_at: datetime
    #: When it last succeeded, also if that was undone since; 0 for never.
    done_sequence: int


class History:
    """One run's step executions, as of this tick."""

    def __init__(self, database: Database, run_id: int, tick: int) -> None:
        self._database = database
        self.run_id = run_id
        self._tick = tick
        self._states: dict[str, StepState] = {}
        self._failures: dict[str, list[int]] = {}
        #: The number of the newest execution that this tick knows.
        self.known_count = 0
        self.reload()

    def reload(self) -> None:
        """Read what is there."""
        self._states.clear()
        self._failures.clear()
        rows = select(WorkflowStepExecution).where(WorkflowStepExecution.run_id == self.run_id)
        with self._database.reading() as session:
            for row in session.scalars(rows.order_by(WorkflowStepExecution.sequence)):
                self._remember(row)

    def _remember(self, row: WorkflowStepExecution) -> None:
        before = self._states.get(row.path)
        same_attempt = before is not None and before.attempt == row.attempt and row.status != "started"
        began_at = before.began_at if before is not None and same_attempt else row.at
        done_sequence = row.sequence if row.status == "succeeded" else (before.done_sequence if before else 0)
        # A word such as "undone" leaves standing what the step was given and what it gave.
        keeps_output = before is not None and row.status == "compensated"
        self._states[row.path] = StepState(
            row.step_id, row.kind, row.sequence, row.status, row.attempt,
            getattr(before, "input", None) if row.input is None else row.input,
            before.output if before is not None and keeps_output else row.output, row.error_type, row.error,
            row.child_queue, row.child_job_id, row.at, row.due_at, began_at, done_sequence,
        )  # fmt: skip
        if row.status == "failed":
            self._failures.setdefault(row.path, []).append(row.sequence)
        self.known_count = max(self.known_count, row.sequence)

    def failure_count(self, path: str, *, since: int) -> int:
        """How often a step failed after the execution of that number."""
        return sum(sequence > since for sequence in self._failures.get(path, ()))

    def state(self, path: str) -> StepState | None:
        """The newest thing at a path."""
        return self._states.get(path)

    def latest(self) -> Iterator[tuple[str, StepState]]:
        """All paths, in the order of what happened last at each."""
        yield from sorted(self._states.items(), key=lambda item: item[1].sequence)

    @contextlib.contextmanager
    def writing(self, path: str, step_id: str, kind: str, attempt: int, status: str, **facts: Any) -> Iterator[Session]:
        """One transaction that adds an execution together with whatever the block writes.

        Raises:
            RunTakenOver, RunCancelled: nothing was written.
            WorkflowTooLong: neither.
        """
        with self._database.session() as session:
            number = _next_number(session, self.run_id, self._tick)
            row = WorkflowStepExecution(
                run_id=self.run_id, sequence=number, path=path, step_id=step_id, kind=kind, attempt=attempt,
                status=status, at=utc_now(), **facts,
            )  # fmt: skip
            yield session
            session.add(row)
            session.flush()
        self._remember(row)

    def add(self, path: str, step_id: str, kind: str, attempt: int, status: str, **facts: Any) -> None:
        """Add an execution by itself."""
        with self.writing(path, step_id, kind, attempt, status, **facts):
            pass

    def has_news(self) -> bool:
        """Whether somebody else (an operator) has added to the run meanwhile."""
        with self._database.reading() as session:
            run = session.get_one(WorkflowRun, self.run_id)
            return run.execution_count > self.known_count or run.status == "cancelled"


def _next_number(session: Session, run_id: int, tick: int) -> int:
    mine = (WorkflowRun.id == run_id, WorkflowRun.tick == tick, WorkflowRun.status != "cancelled")
    advance = update(WorkflowRun).where(*mine).values(execution_count=WorkflowRun.execution_count + 1)
    row = session.execute(advance.returning(WorkflowRun.execution_count, WorkflowRun.status)).one_or_none()
    if row is None:
        status = session.scalar(select(WorkflowRun.status).where(WorkflowRun.id == run_id))
        if status == "cancelled":
            raise RunCancelled
        raise RunTakenOver(f"run {run_id} is worked on elsewhere")
    if row.execution_count > (_UNDOING_LIMIT if row.status == "compensating" else EXECUTION_LIMIT):
        raise WorkflowTooLong(f"more than {EXECUTION_LIMIT:,} step executions")
    return int(row.execution_count)
