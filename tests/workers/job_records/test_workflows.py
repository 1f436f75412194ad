"""A workflow's run says what became of its job, and what it waited for is taken out with it."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from sqlalchemy import select, update

from teknav_ops.jobs.states import JobState
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WorkflowRun, WorkflowStepExecution
from teknav_ops.storage.tables.base import utc_now
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.workers.job_records.conftest import Records, follow_and_die

RUNS = "workflows:run"


def add_run(database: Database, job_id: str, status: str, **facts: Any) -> int:
    with database.session() as session:
        run = WorkflowRun(job_id=job_id, workflow="w", status=status, input={}, tick=4, wake_at=utc_now(), **facts)
        session.add(run)
        session.flush()
        return run.id


def run(database: Database, job_id: str) -> WorkflowRun:
    with database.reading() as session:
        return session.scalars(select(WorkflowRun).where(WorkflowRun.job_id == job_id)).one()


def wait_for(database: Database, run_id: int, queue: str, child_id: str, *statuses: str) -> None:
    """A step that enqueued that child, and what happened to it since."""
    with database.session() as session:
        for number, status in enumerate(statuses, start=1):
            session.add(
                WorkflowStepExecution(
                    run_id=run_id,
                    sequence=number,
                    path=f"steps.{child_id}",
                    step_id="s",
                    kind="enqueue",
                    attempt=1,
                    status=status,
                    child_queue=queue,
                    child_job_id=child_id,
                )
            )
            session.execute(update(WorkflowRun).values(execution_count=number))


def state(records: Records, queue: str, job_id: str) -> str | None:
    return records.client.hget(QueueKeys(queue).job(job_id), "state")  # type: ignore[return-value]


@pytest.mark.each_database
@pytest.mark.parametrize("status", ["running", "waiting"])
def test_a_run_whose_job_was_given_up_elsewhere_has_failed(records: Records, status: str) -> None:
    job_id, delivery = records.begun(RUNS)
    add_run(records.database, job_id, status)

    records.give_up(job_id, delivery.delivery, RUNS, error_type="InvalidPayload")
    records.follow()

    row = run(records.database, job_id)
    assert (row.status, row.error_type, row.error, row.wake_at) == ("failed", "InvalidPayload", "broken", None)
    assert row.finished_at is not None and row.tick == 5, "whoever worked on it can write nothing more"


def test_a_run_that_was_lost_as_it_was_undone_still_says_why_it_failed(records: Records) -> None:
    job_id, _ = records.begun(RUNS)
    add_run(records.database, job_id, "compensating", error_type="ChildFailed", error="no", failed_path="steps[1]")

    records.lose(RUNS, limit=1)
    records.follow()

    row = run(records.database, job_id)
    assert (row.status, row.error_type, row.failed_path) == ("failed", "ChildFailed", "steps[1]")
    assert row.error == "no; it was cut off as it was undone: WorkerLost: broken"


@pytest.mark.parametrize("status", ["running", "waiting", "compensating"])
def test_a_run_whose_job_goes_on_says_so_itself(records: Records, status: str) -> None:
    waiting, delivery = records.begun(RUNS)
    records.postpone(delivery, RUNS)
    lost, _ = records.begun(RUNS)
    records.lose(RUNS)
    for job_id in (waiting, lost):
        add_run(records.database, job_id, status)

    records.follow()

    assert [run(records.database, job_id).status for job_id in (waiting, lost)] == [status, status]


@pytest.mark.parametrize("status", ["completed", "failed", "compensated"])
def test_a_run_that_has_said_how_it_ended_keeps_to_it(records: Records, status: str) -> None:
    job_id, delivery = records.begun(RUNS)
    add_run(records.database, job_id, status, finished_at=utc_now())
    records.give_up(job_id, delivery.delivery, RUNS, error_type="StepFailed")

    records.follow()

    assert (run(records.database, job_id).status, run(records.database, job_id).tick) == (status, 4)


@pytest.mark.each_database
def test_a_run_whose_job_was_cancelled_takes_out_what_it_waits_for_also_runs_within_runs(records: Records) -> None:
    job_id, delivery = records.begun(RUNS)
    records.postpone(delivery, RUNS)
    waits, done = records.enqueue(), records.enqueue()
    inner, inner_delivery = records.begun(RUNS)
    records.postpone(inner_delivery, RUNS)
    run_id = add_run(records.database, job_id, "waiting")
    add_run(records.database, inner, "waiting")
    wait_for(records.database, run_id, "email:send", waits, "started", "waiting")
    wait_for(records.database, run_id + 1, RUNS, "not-of-this-run", "started")
    with records.database.session() as session:
        for number, (queue, child, status) in enumerate(
            [(RUNS, inner, "waiting"), ("email:send", done, "succeeded")], start=3
        ):
            session.add(
                WorkflowStepExecution(
                    run_id=run_id,
                    sequence=number,
                    path=f"steps.{child}",
                    step_id="s",
                    kind="enqueue",
                    attempt=1,
                    status=status,
                    child_queue=queue,
                    child_job_id=child,
                )
            )

    records.cancel(job_id, RUNS)
    records.follow()

    row = run(records.database, job_id)
    assert (row.status, row.cancelled_by, row.wake_at) == ("cancelled", "cli:olga", None)
    assert row.finished_at is not None
    assert state(records, "email:send", waits) == JobState.CANCELLED
    assert state(records, "email:send", done) == JobState.WAITING
    # Its own worker clears up after it, and is woken for that.
    assert (run(records.database, inner).status, run(records.database, inner).finished_at) == ("cancelled", None)
    assert state(records, RUNS, inner) == JobState.WAITING


def test_children_of_queues_that_are_gone_or_damaged_hold_up_nothing(records: Records) -> None:
    job_id, delivery = records.begun(RUNS)
    records.postpone(delivery, RUNS)
    child = records.enqueue()
    records.client.delete(QueueKeys("email:send").job(child))
    records.client.set(QueueKeys("email:send").job(child), "no hash")
    run_id = add_run(records.database, job_id, "waiting")
    wait_for(records.database, run_id, "email:send", child, "waiting")
    with records.database.session() as session:
        session.add(
            WorkflowStepExecution(
                run_id=run_id,
                sequence=9,
                path="steps.gone",
                step_id="s",
                kind="enqueue",
                attempt=1,
                status="waiting",
                child_queue="there:is:none",
                child_job_id="x",
            )
        )

    records.cancel(job_id, RUNS)
    records.follow()

    assert run(records.database, job_id).status == "cancelled"


@pytest.mark.each_database
def test_a_cancelled_run_whose_worker_is_lost_as_it_clears_up_is_cleared_up_all_the_same(records: Records) -> None:
    job_id, _ = records.begun(RUNS)
    child = records.enqueue()
    run_id = add_run(records.database, job_id, "cancelled", cancelled_by="sara")
    wait_for(records.database, run_id, "email:send", child, "waiting")

    records.lose(RUNS, limit=1)
    records.follow()

    row = run(records.database, job_id)
    assert (row.status, row.cancelled_by, row.finished_at is None) == ("cancelled", "sara", False)
    assert state(records, "email:send", child) == JobState.CANCELLED


@pytest.mark.each_database
@pytest.mark.parametrize("inner_status", ["waiting", "cancelled"])
def test_a_scheduler_killed_as_it_takes_out_children_does_the_rest_when_it_is_back(
    records: Records, redis_server: RedisServer, database_url: str, inner_status: str
) -> None:
    job_id, delivery = records.begun(RUNS)
    records.postpone(delivery, RUNS)
    inner, inner_delivery = records.begun(RUNS)
    records.postpone(inner_delivery, RUNS)
    run_id = add_run(records.database, job_id, "waiting")
    add_run(records.database, inner, inner_status)
    wait_for(records.database, run_id, RUNS, inner, "waiting")
    records.cancel(job_id, RUNS)
    records.writer.drain()

    statement = "UPDATE workflow_run"
    process = warm_python.start_function(follow_and_die, redis_server.url, database_url, statement)
    assert process.wait(60) == -signal.SIGKILL
    assert run(records.database, job_id).status == "waiting"
    records.follow()

    assert (run(records.database, job_id).status, run(records.database, inner).status) == ("cancelled", "cancelled")
    assert state(records, RUNS, inner) == (JobState.WAITING if inner_status == "waiting" else JobState.CANCELLED)
