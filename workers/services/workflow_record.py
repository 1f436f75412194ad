"""The row of a run: taken up under a new number, and changed only by whoever holds the newest one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import PermanentError, UnknownJob
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.redaction import error_text
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.platform.workflow_checks import is_of_type
from teknav_ops.platform.workflow_definition import Definition, read_definition
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.tables import WorkflowDefinition, WorkflowRun
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY
from workers.services.workflow_history import RunCancelled, RunTakenOver

if TYPE_CHECKING:
    from workers.services import Services


class UnknownWorkflow(PermanentError):
    """There is no workflow of this name and version."""


class InvalidWorkflowInput(PermanentError):
    """A value that the definition asks for is missing, or of another type."""


def take(job: RunWorkflow, ctx: JobContext[Services]) -> tuple[WorkflowRun, Definition]:
    """The run under a new number, so that whoever held an older one can write nothing; and its definition."""
    with ctx.services.database.session() as session:
        new = insert_into(session, WorkflowRun).values(
            job_id=ctx.job_id, workflow=job.workflow, status="running", input=job.input, started_at=utc_now(),
            updated_at=utc_now(), depth=0, tick=0, execution_count=0, resumed_after=0, replay_count=0,
        )  # fmt: skip
        session.execute(new.on_conflict_do_nothing())
        session.execute(update(WorkflowRun).where(WorkflowRun.job_id == ctx.job_id).values(tick=WorkflowRun.tick + 1))
        run = session.scalars(select(WorkflowRun).where(WorkflowRun.job_id == ctx.job_id)).one()
        if run.status == "failed" and run.execution_count == 0:
            # Nothing has been done yet, so a replay may bring a corrected input.
            run.input = job.input
        wanted = select(WorkflowDefinition).where(WorkflowDefinition.slug == job.workflow)
        version = run.version or job.version
        if version is not None:
            wanted = wanted.where(WorkflowDefinition.version == version)
        found = session.scalars(wanted.order_by(WorkflowDefinition.version.desc()).limit(1)).first()
        if found is not None:
            run.version = found.version
    if found is None:
        raise end(run, ctx, UnknownWorkflow(f"workflow: there is no {job.workflow!r}, version {version or 'any'}"))
    definition = read_definition(found.definition)
    _check_input(run, definition, ctx)
    _resume_if_replayed(run, definition, ctx)
    return run, definition


def _check_input(run: WorkflowRun, definition: Definition, ctx: JobContext[Services]) -> None:
    """What the definition declares, and nothing else; defaults are filled in once, when the run begins."""
    given = dict(run.input)
    problems = [f"input.{name}: is not declared" for name in given if name not in definition.inputs]
    for name, field in definition.inputs.items():
        if given.get(name) is None and not field.required:
            given[name] = field.default
        elif name not in given:
            problems.append(f"input.{name}: is required")
        elif not is_of_type(given[name], field.type):
            problems.append(f"input.{name}: must be of type {field.type}")
    if problems:
        raise end(run, ctx, InvalidWorkflowInput("; ".join(problems)))
    run.input = given
    if run.deadline_at is None:
        run.deadline_at = utc_now() + timedelta(hours=definition.timeout_hours)
        change(run, ctx, input=given, deadline_at=run.deadline_at)


def _resume_if_replayed(run: WorkflowRun, definition: Definition, ctx: JobContext[Services]) -> None:
    """An operator replayed the dead letter: failures and time so far do not count any more. A crash is no replay."""
    if run.status not in ("failed", "compensated"):
        return
    try:
        replay_count = JobQueries(ctx.services.redis, TOPOLOGY).get(ctx.queue, ctx.job_id).replay_count
    except UnknownJob:
        return
    if replay_count <= run.replay_count:
        return
    run.status, run.replay_count, run.resumed_after = "running", replay_count, run.execution_count
    run.deadline_at = utc_now() + timedelta(hours=definition.timeout_hours)
    change(
        run, ctx, status="running", replay_count=replay_count, resumed_after=run.execution_count,
        deadline_at=run.deadline_at, finished_at=None, failed_path=None, error_type=None, error=None,
    )  # fmt: skip


def change(run: WorkflowRun, ctx: JobContext[Services], **facts: Any) -> None:
    """Change the run. Raises RunCancelled or RunTakenOver, and then nothing was changed."""
    with ctx.services.database.session() as session:
        change_in(session, run, **facts)


def change_in(session: Session, run: WorkflowRun, **facts: Any) -> None:
    """As `change`, in a transaction that holds more."""
    mine = (WorkflowRun.id == run.id, WorkflowRun.tick == run.tick, WorkflowRun.status != "cancelled")
    if session.execute(update(WorkflowRun).where(*mine).values(**facts).returning(WorkflowRun.id)).first() is None:
        status = session.scalar(select(WorkflowRun.status).where(WorkflowRun.id == run.id))
        raise RunCancelled if status == "cancelled" else RunTakenOver(f"run {run.id} is worked on elsewhere")


def end(run: WorkflowRun, ctx: JobContext[Services], error: PermanentError) -> PermanentError:
    """The run failed before, or apart from, any step. Raises RunCancelled or RunTakenOver, and then it did not."""
    if run.status not in ("completed", "cancelled"):
        words = error_text(error)
        change(run, ctx, status="failed", failed_path=None, error_type=type(error).__name__, error=words,
               finished_at=utc_now(), wake_at=None)  # fmt: skip
    return error
