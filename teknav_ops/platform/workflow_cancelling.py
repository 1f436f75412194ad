"""Taking out what a workflow waits for: jobs that have not begun, and the runs of workflows that it started."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import func, select, update

from teknav_ops.platform.workflow_checks import own_queue
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WorkflowRun, WorkflowStepExecution
from teknav_ops.topology import Topology

#: Who enqueues and cancels the jobs of steps.
WORKFLOW_ACTOR: Final = "workflow"
LIVE: Final = ("running", "waiting", "compensating")


def cancel_child(client: Client, database: Database, topology: Topology, queue: str, child_id: str) -> None:
    """Take a step's job out if it has not begun. A workflow that has begun is cancelled as a run. Safe to do twice."""
    runner, keys = ScriptRunner(client), QueueKeys(topology[queue].name)
    if queue == own_queue(topology) and _cancel_run(database, child_id):
        runner.run(scripts.promote(keys, job_id=child_id, actor=WORKFLOW_ACTOR))
        return
    kept = topology[queue].cancelled_kept
    runner.run(scripts.cancel(keys, job_id=child_id, actor=WORKFLOW_ACTOR, cancelled_kept=kept))


def _cancel_run(database: Database, job_id: str) -> bool:
    cancelled = (
        update(WorkflowRun)
        .where(WorkflowRun.job_id == job_id, WorkflowRun.status.in_(LIVE))
        .values(status="cancelled", cancelled_by=WORKFLOW_ACTOR)
        .returning(WorkflowRun.id)
    )
    with database.session() as session:
        return session.execute(cancelled).one_or_none() is not None


def open_children(database: Database, run_ids: Collection[int]) -> Iterator[tuple[str, str]]:
    """Queue and id of the jobs that steps of these runs wait for, or had begun to enqueue."""
    step = WorkflowStepExecution
    # A run has one writer at a time, so the newest has the largest id.
    newest = select(func.max(step.id)).where(step.run_id.in_(run_ids)).group_by(step.run_id, step.path)
    columns = (step.child_queue, step.child_job_id, step.status)
    with database.reading() as session:
        rows = session.execute(select(*columns).where(step.id.in_(newest))).all()
    for queue, child_id, status in rows:
        if status in ("started", "waiting") and queue and child_id:
            yield queue, child_id
