"""Workflows as operators see them: save, list, look at runs, decide, cancel."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.operator_log import OperatorAction
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.jobs.states import JobState
from teknav_ops.platform.workflow_cancelling import LIVE
from teknav_ops.platform.workflow_checks import check_definition, own_queue
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WorkflowDefinition, WorkflowRun, WorkflowStepExecution
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import Topology

Record = Callable[..., AbstractContextManager[OperatorAction]]
_LYING_DOWN_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.02


def _queue_of_runs(runs: WorkflowRuns) -> str:
    return own_queue(runs._topology)


class UnknownRun(InvalidRequest):
    """There is no run with this id."""


@dataclasses.dataclass(frozen=True, slots=True)
class SavedWorkflow:
    """The newest version of a workflow."""

    slug: str
    version: int
    title: str
    created_by: str
    created_at: datetime


@dataclasses.dataclass(frozen=True, slots=True)
class RunView:
    """One run."""

    id: int
    job_id: str
    workflow: str
    version: int | None
    status: str
    input: dict[str, Any]
    outputs: dict[str, Any] | None
    failed_path: str | None
    error: str | None
    started_at: datetime
    wake_at: datetime | None
    finished_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class StepView:
    """One change of a step's status."""

    sequence: int
    at: datetime
    path: str
    step_id: str
    kind: str
    attempt: int
    status: str
    input: Any
    output: Any
    error_type: str | None
    error: str | None
    child_queue: str | None
    child_job_id: str | None
    due_at: datetime | None


class WorkflowRuns:
    """Every change is recorded with the operator's name before it is made."""

    def __init__(
        self, database: Database, client: Client, topology: Topology, record: Record, *, operator: Operator
    ) -> None:
        self._database = database
        self._runner = ScriptRunner(client)
        self._topology = topology
        self._record = record
        self._operator = operator

    @needs(Operation.MANAGE)
    def save(self, definition: Mapping[str, Any]) -> SavedWorkflow:
        """Save a workflow as a new version; the text that is saved already keeps its version.

        Raises:
            InvalidDefinition: names each faulty place. Nothing was written.
        """
        checked = check_definition(definition, self._topology)
        with self._record("workflow.saved", None, workflow=checked.slug) as entry, self._database.session() as session:
            of_slug = select(WorkflowDefinition).where(WorkflowDefinition.slug == checked.slug)
            newest = session.scalars(of_slug.order_by(WorkflowDefinition.version.desc()).limit(1)).first()
            if newest is None or newest.definition != dict(definition):
                newest = WorkflowDefinition(
                    slug=checked.slug, version=newest.version + 1 if newest else 1, definition=dict(definition),
                    created_by=self._operator.name, created_at=utc_now(),
                )  # fmt: skip
                session.add(newest)
            entry.note(version=newest.version)
            return _saved(newest)

    def saved(self) -> list[SavedWorkflow]:
        """The newest version of each workflow, by slug."""
        newest = select(WorkflowDefinition.slug, func.max(WorkflowDefinition.version).label("version"))
        latest = newest.group_by(WorkflowDefinition.slug).subquery()
        rows = select(WorkflowDefinition).join(
            latest,
            (latest.c.slug == WorkflowDefinition.slug) & (latest.c.version == WorkflowDefinition.version),
        )
        with self._database.reading() as session:
            return [_saved(row) for row in session.scalars(rows.order_by(WorkflowDefinition.slug))]

    def runs(self, *, status: str | None = None, limit: int = 50) -> Sequence[RunView]:
        """Runs, newest first."""
        wanted = select(WorkflowRun).order_by(WorkflowRun.id.desc()).limit(limit)
        if status is not None:
            wanted = wanted.where(WorkflowRun.status == status)
        with self._database.reading() as session:
            return [_view(row, RunView) for row in session.scalars(wanted)]

    def show(self, run_id: int) -> tuple[RunView, list[StepView]]:
        """A run and everything that happened to its steps. Raises UnknownRun."""
        rows = select(WorkflowStepExecution).where(WorkflowStepExecution.run_id == run_id)
        with self._database.reading() as session:
            run = _view(_find(session, run_id), RunView)
            return run, [_view(row, StepView) for row in session.scalars(rows.order_by(WorkflowStepExecution.sequence))]

    @needs(Operation.ACT, of=_queue_of_runs)
    def approve(self, run_id: int, step_id: str, *, comment: str = "") -> None:
        """Let a run that waits for a person go on. Raises UnknownRun, or WrongState when it does not wait there."""
        with self._record("workflow.approved", own_queue(self._topology), run=run_id, step=step_id, comment=comment):
            self._decide(run_id, step_id, is_approved=True, comment=comment)

    @needs(Operation.ACT, of=_queue_of_runs)
    def reject(self, run_id: int, step_id: str, *, comment: str = "") -> None:
        """Say no. What that means is the step's to say (`on_reject`). Raises UnknownRun or WrongState."""
        with self._record("workflow.rejected", own_queue(self._topology), run=run_id, step=step_id, comment=comment):
            self._decide(run_id, step_id, is_approved=False, comment=comment)

    @needs(Operation.ACT, of=_queue_of_runs)
    def cancel(self, run_id: int) -> None:
        """Stop a run: nothing more is begun, jobs it waits for are taken out. Raises UnknownRun or WrongState."""
        with self._record("workflow.cancelled", own_queue(self._topology), run=run_id):
            with self._database.session() as session:
                run = _find(session, run_id)
                if run.status not in LIVE:
                    raise WrongState(f"run: {run_id} is {run.status}; only a run that has not ended can be cancelled")
                run.status, run.cancelled_by = "cancelled", self._operator.name
                job_id = run.job_id
            self._wake(job_id)

    def _decide(self, run_id: int, step_id: str, *, is_approved: bool, comment: str) -> None:
        with self._database.session() as session:
            run = _find(session, run_id)
            row = _waiting_approval(session, run, step_id)
            goes_on = is_approved or (row.input or {}).get("on_reject") == "continue"
            numbered = update(WorkflowRun).where(WorkflowRun.id == run_id)
            number = session.scalar(
                numbered.values(execution_count=WorkflowRun.execution_count + 1).returning(WorkflowRun.execution_count)
            )
            decision = {"approved": is_approved, "by": self._operator.name, "comment": comment}
            session.add(
                WorkflowStepExecution(
                    run_id=run_id, sequence=number, path=row.path, step_id=row.step_id, kind=row.kind,
                    attempt=row.attempt, status="succeeded" if goes_on else "failed", output=decision, at=utc_now(),
                    error_type=None if goes_on else "ApprovalRejected",
                    error=None if goes_on else f"rejected by {self._operator.name}: {comment}",
                )
            )  # fmt: skip
            job_id = run.job_id
        self._wake(job_id)

    def _wake(self, job_id: str) -> None:
        """Have the run looked at now. One that is being worked on sees the news before it lies down again.

        Unless it is lying down at this very moment: so we look for a while whether it does.
        """
        call = scripts.promote(QueueKeys(own_queue(self._topology)), job_id=job_id, actor=self._operator.name)
        deadline = time.monotonic() + _LYING_DOWN_SECONDS
        while self._runner.run(call) == JobState.ACTIVE and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


def _waiting_approval(session: Session, run: WorkflowRun, step_id: str) -> WorkflowStepExecution:
    rows = select(WorkflowStepExecution).where(
        WorkflowStepExecution.run_id == run.id, WorkflowStepExecution.step_id == step_id
    )
    newest = session.scalars(rows.order_by(WorkflowStepExecution.sequence.desc()).limit(1)).first()
    if run.status not in LIVE or newest is None or newest.kind != "approval" or newest.status != "waiting":
        raise WrongState(f"run: {run.id} is {run.status} and does not wait for a decision on {step_id!r}")
    return newest


def _find(session: Session, run_id: int) -> WorkflowRun:
    run = session.scalars(select(WorkflowRun).where(WorkflowRun.id == run_id).with_for_update()).first()
    if run is None:
        raise UnknownRun(f"run: there is no workflow run {run_id}; see `teknav workflows runs`")
    return run


def _saved(row: WorkflowDefinition) -> SavedWorkflow:
    title = str(row.definition.get("title", ""))
    return SavedWorkflow(row.slug, row.version, title, row.created_by, row.created_at)


def _view(row: Any, kind: type[Any]) -> Any:
    return kind(**{field.name: getattr(row, field.name) for field in dataclasses.fields(kind)})
