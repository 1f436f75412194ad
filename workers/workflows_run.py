"""workflows:run: take a run as far as it goes now, and come back when there is more to do.

In between, what waits (a job of another queue, a delay, a person) holds no worker: the job is postponed.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import update

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError, Waiting
from teknav_ops.jobs.states import JobState
from teknav_ops.payloads.redaction import error_text
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.platform.workflow_definition import Definition
from teknav_ops.platform.workflow_templates import TemplateError, fill
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import WorkflowRun
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services
from workers.services.workflow_children import ChildJobs
from workers.services.workflow_effects import read_article
from workers.services.workflow_history import History, RunCancelled, WorkflowTooLong
from workers.services.workflow_leaf import LONGEST_POLL_SECONDS
from workers.services.workflow_outcomes import Done, Pending, StepGaveUp
from workers.services.workflow_record import InvalidWorkflowInput, UnknownWorkflow, change, change_in, end, take
from workers.services.workflow_walk import Walk

_LEAST_PAUSE_SECONDS: Final = 0.2

Context = JobContext[Services]


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
    run, definition = take(job, ctx)
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
    result = _walk_on(run, walk, definition)
    if isinstance(result, StepGaveUp):
        _give_up(run, result, ctx)
        return _undo(run, walk, definition, history, ctx)
    if isinstance(result, Pending):
        raise _waiting(run, result, history, ctx)
    try:
        outputs = fill(definition.outputs, walk.names, where="outputs")
    except TemplateError as error:
        raise end(run, ctx, error) from None
    summary = {"status": "completed", "run_id": run.id, "outputs": outputs}
    with ctx.services.database.session() as session:
        change_in(session, run, status="completed", outputs=outputs, finished_at=utc_now(), wake_at=None)
        record_effect(session, ctx.job_id, ctx.queue, summary)
    ctx.log.info("workflow.completed", workflow=run.workflow, run_id=run.id)
    return summary


def _walk_on(run: WorkflowRun, walk: Walk, definition: Definition) -> Done | Pending | StepGaveUp:
    """How far it comes. What gives up is answered, not raised: that it failed is told when it has been undone."""
    if run.deadline_at is not None and utc_now() > run.deadline_at:
        return StepGaveUp(None, WorkflowTimedOut.__name__, f"not done after {definition.timeout_hours:g} hours")
    try:
        return walk.sequence(definition.steps, "steps", {})
    except StepGaveUp as error:
        return error
    except WorkflowTooLong as error:
        return StepGaveUp(None, type(error).__name__, error_text(error))


def _give_up(run: WorkflowRun, why: StepGaveUp, ctx: Context) -> None:
    """From here on the run is being undone, also by whoever takes it up after this worker."""
    run.status, run.failed_path, run.error_type, run.error = "compensating", why.path, why.error_type, why.words
    change(run, ctx, status=run.status, failed_path=why.path, error_type=why.error_type, error=why.words)


def _failure(run: WorkflowRun) -> PermanentError:
    """How the run failed, told the same way whenever it is told."""
    if run.failed_path:
        return StepFailed(f"{run.failed_path}: {run.error_type}: {run.error}")
    ended = {error.__name__: error for error in _ENDINGS}
    return ended.get(run.error_type or "", StepFailed)(run.error or "")


def _waiting(run: WorkflowRun, pending: Pending, history: History, ctx: Context) -> Waiting:
    """Come back when there is more to do, or time is up: at once if an operator has decided something meanwhile."""
    wake_at = pending.until if run.deadline_at is None else min(pending.until, run.deadline_at)
    change(run, ctx, status="waiting", wake_at=wake_at)
    seconds = 0.0 if history.has_news() else _seconds_until(wake_at)
    return Waiting(
        f"run {run.id} of {run.workflow} waits", retry_after_seconds=max(_LEAST_PAUSE_SECONDS, seconds)
    )  # fmt: skip


def _undo(run: WorkflowRun, walk: Walk, definition: Definition, history: History, ctx: Context) -> Mapping[str, Any]:
    """Undo what was done, the newest first; then say that the run failed."""
    _settle_children(run, history, ctx)
    undoing = walk.undoing(definition.steps)
    undone = 0
    for path, step, scope in undoing:
        under = f"{path}.compensate"
        try:
            result = walk.leaf(step, under, scope)
            state = history.state(path)
            if isinstance(result, Done) and state is not None and state.status != "compensated":
                history.add(path, state.step_id, state.kind, state.attempt, "compensated")
        except (StepGaveUp, WorkflowTooLong) as error:
            ctx.log.warning("workflow.not_undone", run_id=run.id, path=path, error=error_text(error))
            continue
        if isinstance(result, Pending):
            seconds = max(_LEAST_PAUSE_SECONDS, _seconds_until(result.until))
            raise Waiting(f"run {run.id} of {run.workflow} is being undone", retry_after_seconds=seconds)
        undone += 1
    is_all_undone = bool(undoing) and undone == len(undoing)
    change(run, ctx, status="compensated" if is_all_undone else "failed", finished_at=utc_now(), wake_at=None)
    raise _failure(run)


def _settle_children(run: WorkflowRun, history: History, ctx: Context) -> None:
    """Before anything is undone: jobs that have not begun are taken out, those that run are waited for."""
    children, now, looks = ChildJobs(ctx.services, run.job_id, ctx.trace_id), utc_now(), []
    for path, state in list(history.latest()):
        is_open = state.status in ("started", "waiting") and not path.endswith(".compensate")
        if not (is_open and state.child_queue and state.child_job_id):
            continue
        children.cancel(state.child_queue, state.child_job_id)
        child = children.look(state.child_queue, state.child_job_id)
        if child.state is JobState.COMPLETED:
            history.add(path, state.step_id, state.kind, state.attempt, "succeeded", output=child.result)
        elif child.state in (JobState.CANCELLED, JobState.FAILED, None):
            history.add(path, state.step_id, state.kind, state.attempt, "cancelled")
        else:
            later = Pending.later(state.began_at, now, least_seconds=1.0, most_seconds=LONGEST_POLL_SECONDS)
            looks.append(later.until)
    if looks:
        words = f"run {run.id} of {run.workflow} is to be undone; jobs of it still run"
        raise Waiting(words, retry_after_seconds=max(_LEAST_PAUSE_SECONDS, _seconds_until(min(looks))))


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


def _seconds_until(moment: datetime) -> float:
    return (moment - utc_now()).total_seconds()
