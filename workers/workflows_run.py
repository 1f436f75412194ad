"""workflows:run: take a run as far as it goes now, and come back when there is more to do.

In between, what waits (a job of another queue, a delay, a person) holds no worker: the job is postponed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError, UnknownJob, Waiting
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.platform.workflow_checks import is_of_type
from teknav_ops.platform.workflow_definition import Definition, read_definition
from teknav_ops.platform.workflow_templates import TemplateError, fill
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import WorkflowDefinition, WorkflowRun
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY
from workers.services import Services
from workers.services.workflow_children import ChildJobs
from workers.services.workflow_effects import read_article
from workers.services.workflow_history import History, RunCancelled, RunTakenOver, WorkflowTooLong
from workers.services.workflow_leaf import Done, Pending, StepGaveUp
from workers.services.workflow_walk import Walk

_LEAST_PAUSE_SECONDS: Final = 0.2

Context = JobContext[Services]


class UnknownWorkflow(PermanentError):
    """There is no workflow of this name and version."""


class InvalidWorkflowInput(PermanentError):
    """A value that the definition asks for is missing, or of another type."""


class StepFailed(PermanentError):
    """A step failed for good; what could be undone was. The message names the step and the cause."""


class WorkflowTimedOut(PermanentError):
    """The run took longer than its definition's `timeout_hours`."""


#: How a run ends apart from any step.
_ENDINGS: Final = (UnknownWorkflow, InvalidWorkflowInput, WorkflowTimedOut, WorkflowTooLong, TemplateError)


@processor("run-workflow")
def run_workflow(job: RunWorkflow, ctx: Context) -> Mapping[str, Any]:
    """Do what can be done of the run's steps; end it, or wait.

    Runs twice safely: each step's result is on record before the next begins, a step that was cut off is begun again
    under the same key, and a worker that was overtaken can write nothing.
    """
    run, definition = _take(job, ctx)
    if run.status == "completed" or (run.status == "cancelled" and run.finished_at is not None):
        return {"status": run.status, "run_id": run.id}
    if run.status in ("failed", "compensated"):
        raise _failure(run)
    history = History(ctx.services.database, run.id, run.tick)
    if run.status == "cancelled":
        return _clear_up(run, history, ctx)
    walk = _walk(run, history, ctx)
    try:
        if run.status == "compensating":
            return _undo(run, walk, definition, history, ctx)
        return _advance(run, walk, definition, history, ctx)
    except RunCancelled:
        return _clear_up(run, history, ctx)


def _take(job: RunWorkflow, ctx: Context) -> tuple[WorkflowRun, Definition]:
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
        raise _end(run, ctx, UnknownWorkflow(f"workflow: there is no {job.workflow!r}, version {version or 'any'}"))
    definition = read_definition(found.definition)
    _check_input(run, definition, ctx)
    _resume_if_replayed(run, ctx)
    return run, definition


def _check_input(run: WorkflowRun, definition: Definition, ctx: Context) -> None:
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
        raise _end(run, ctx, InvalidWorkflowInput("; ".join(problems)))
    run.input = given
    if run.deadline_at is None:
        run.deadline_at = utc_now() + timedelta(hours=definition.timeout_hours)
        _set(run, ctx, input=given, deadline_at=run.deadline_at)


def _resume_if_replayed(run: WorkflowRun, ctx: Context) -> None:
    """An operator replayed the dead letter: failures so far do not count any more. A crash is no replay."""
    if run.status not in ("failed", "compensated"):
        return
    try:
        replay_count = JobQueries(ctx.services.redis, TOPOLOGY).get(ctx.queue, ctx.job_id).replay_count
    except UnknownJob:
        return
    if replay_count > run.replay_count:
        run.status, run.replay_count, run.resumed_after = "running", replay_count, run.execution_count
        _set(run, ctx, status="running", replay_count=replay_count, resumed_after=run.execution_count,
             finished_at=None, failed_path=None, error_type=None, error=None)  # fmt: skip


def _walk(run: WorkflowRun, history: History, ctx: Context) -> Walk:
    names: dict[str, Any] = {
        "input": run.input, "steps": {}, "run": {"id": run.id, "job_id": run.job_id, "workflow": run.workflow},
    }  # fmt: skip

    def read() -> None:
        article = read_article(ctx.services.database, run.input.get("article_id"))
        if article is not None:
            names["article"] = article

    read()
    return Walk(
        history, names, children=ChildJobs(ctx.services, run.job_id, ctx.trace_id), http=ctx.services.http,
        run_key=run.job_id, resumed_after=run.resumed_after, article_changed=read,
    )  # fmt: skip


def _advance(run: WorkflowRun, walk: Walk, definition: Definition, history: History, ctx: Context) -> Mapping[str, Any]:
    if run.deadline_at is not None and utc_now() > run.deadline_at:
        words = f"not done after {definition.timeout_hours:g} hours"
        _give_up(run, None, WorkflowTimedOut.__name__, words, history, ctx)
        return _undo(run, walk, definition, history, ctx)
    try:
        result = walk.sequence(definition.steps, "steps", {})
    except StepGaveUp as error:
        _give_up(run, error.path, error.error_type, error.words, history, ctx)
        return _undo(run, walk, definition, history, ctx)
    except WorkflowTooLong as error:
        _give_up(run, None, type(error).__name__, str(error), history, ctx)
        return _undo(run, walk, definition, history, ctx)
    if isinstance(result, Pending):
        raise _waiting(run, result, history, ctx)
    try:
        outputs = fill(definition.outputs, walk.names, where="outputs")
    except TemplateError as error:
        raise _end(run, ctx, error) from None
    summary = {"status": "completed", "run_id": run.id, "outputs": outputs}
    with ctx.services.database.session() as session:
        _set_in(session, run, status="completed", outputs=outputs, finished_at=utc_now(), wake_at=None)
        record_effect(session, ctx.job_id, ctx.queue, summary)
    ctx.log.info("workflow.completed", workflow=run.workflow, run_id=run.id)
    return summary


def _give_up(run: WorkflowRun, path: str | None, error_type: str, words: str, history: History, ctx: Context) -> None:
    """From here on the run is being undone, also by whoever takes it up after this worker."""
    _cancel_children(history, ctx, run)
    run.status, run.failed_path, run.error_type, run.error = "compensating", path, error_type, words
    _set(run, ctx, status=run.status, failed_path=path, error_type=error_type, error=words)


def _failure(run: WorkflowRun) -> PermanentError:
    """How the run failed, told the same way whenever it is told."""
    if run.failed_path:
        return StepFailed(f"{run.failed_path}: {run.error_type}: {run.error}")
    ended = {error.__name__: error for error in _ENDINGS}
    return ended.get(run.error_type or "", StepFailed)(run.error or "")


def _waiting(run: WorkflowRun, pending: Pending, history: History, ctx: Context) -> Waiting:
    """Come back when there is more to do: at once if an operator has decided something meanwhile."""
    seconds = max(_LEAST_PAUSE_SECONDS, (pending.until - utc_now()).total_seconds())
    _set(run, ctx, status="waiting", wake_at=pending.until)
    if history.has_news():
        seconds = _LEAST_PAUSE_SECONDS
    return Waiting(f"run {run.id} of {run.workflow} waits", retry_after_seconds=seconds)


def _undo(run: WorkflowRun, walk: Walk, definition: Definition, history: History, ctx: Context) -> Mapping[str, Any]:
    """Undo what was done, the newest first; then say that the run failed."""
    if not walk.undo:
        walk.collect_undo(definition.steps, "steps", {})
    undone = 0
    for path, step, scope in reversed(walk.undo):
        under = f"{path}.compensate"
        try:
            result = walk.leaf(step, under, scope)
            state = history.state(path)
            if isinstance(result, Done) and state is not None and state.status != "compensated":
                history.add(path, step.id, step.kind, state.attempt, "compensated")
        except (StepGaveUp, WorkflowTooLong) as error:
            ctx.log.warning("workflow.not_undone", run_id=run.id, path=path, error=str(error))
            continue
        if isinstance(result, Pending):
            seconds = max(_LEAST_PAUSE_SECONDS, (result.until - utc_now()).total_seconds())
            raise Waiting(f"run {run.id} of {run.workflow} is being undone", retry_after_seconds=seconds)
        undone += 1
    is_all_undone = bool(walk.undo) and undone == len(walk.undo)
    _set(run, ctx, status="compensated" if is_all_undone else "failed", finished_at=utc_now(), wake_at=None)
    raise _failure(run)


def _clear_up(run: WorkflowRun, history: History, ctx: Context) -> Mapping[str, Any]:
    """A cancelled run: jobs it waits for are taken out if they have not begun."""
    history.reload()
    _cancel_children(history, ctx, run)
    summary = {"status": "cancelled", "run_id": run.id}
    with ctx.services.database.session() as session:
        session.execute(update(WorkflowRun).where(WorkflowRun.id == run.id).values(finished_at=utc_now(), wake_at=None))
        record_effect(session, ctx.job_id, ctx.queue, summary)
    return summary


def _cancel_children(history: History, ctx: Context, run: WorkflowRun) -> None:
    children = ChildJobs(ctx.services, run.job_id, ctx.trace_id)
    for _, state in history.latest():
        # A worker that died between enqueueing a child and writing it down left it "started".
        if state.status in ("started", "waiting") and state.child_queue and state.child_job_id:
            children.cancel(state.child_queue, state.child_job_id)


def _set(run: WorkflowRun, ctx: Context, **facts: Any) -> None:
    """Change the run. Raises RunCancelled or RunTakenOver, and then nothing was changed."""
    with ctx.services.database.session() as session:
        _set_in(session, run, **facts)


def _set_in(session: Session, run: WorkflowRun, **facts: Any) -> None:
    mine = (WorkflowRun.id == run.id, WorkflowRun.tick == run.tick, WorkflowRun.status != "cancelled")
    if session.execute(update(WorkflowRun).where(*mine).values(**facts).returning(WorkflowRun.id)).first() is None:
        status = session.scalar(select(WorkflowRun.status).where(WorkflowRun.id == run.id))
        raise RunCancelled if status == "cancelled" else RunTakenOver(f"run {run.id} is worked on elsewhere")


def _end(run: WorkflowRun, ctx: Context, error: PermanentError) -> PermanentError:
    """The run failed before, or apart from, any step. Raises RunCancelled or RunTakenOver, and then it did not."""
    if run.status not in ("completed", "cancelled"):
        _set(run, ctx, status="failed", failed_path=None, error_type=type(error).__name__, error=str(error)[:2_000],
             finished_at=utc_now(), wake_at=None)  # fmt: skip
    return error
