"""workflows:run: what was done is undone when a run fails, and a replay takes it up again."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import update

from teknav_ops.control import Control
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.errors import Waiting
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.storage.tables import WorkflowRun
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.real_engine import topology_of, working
from tests.support.waiting import until
from tests.workers.workflows_run.conftest import OneWorkflow, http, paths
from workers.services import Services, workflow_history
from workers.services.workflow_history import WorkflowTooLong
from workers.workflows_run import StepFailed, WorkflowTimedOut, run_workflow


def replayed(workflow: OneWorkflow) -> None:
    """As after an operator's replay: what failed so far does not count any more."""
    with workflow.services.database.session() as session:
        told = {"status": "running", "resumed_after": WorkflowRun.execution_count, "finished_at": None}
        session.execute(update(WorkflowRun).values(**told))


def test_a_failure_undoes_what_was_done_the_newest_first(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b"{}")] * 4 + [Answer(400), Answer(body=b"{}")]
    workflow.save(
        http("one", receiver, compensate=http("undo_one", receiver)),
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [http("two", receiver, compensate=http("undo_two", receiver))]},
            {"steps": [http("three", receiver)]},
        ]},
        {"id": "publish", "kind": "update-article", "article_id": 1, "set": {"status": "published"},
         "compensate": {"id": "unpublish", "kind": "update-article", "article_id": 1, "set": {"status": "draft"}}},
        http("four", receiver), http("five", receiver, compensate=http("undo_five", receiver)),
    )  # fmt: skip
    with pytest.raises(StepFailed, match=r"steps\[4\]: HttpStepRefused"):
        workflow.tick()

    assert paths(receiver) == ["one", "two", "three", "four", "five", "undo_two", "undo_one"]
    assert (workflow.article().status, workflow.run().status) == ("draft", "compensated")
    with pytest.raises(StepFailed):
        workflow.tick()
    assert len(receiver.requests) == 7


@pytest.mark.each_database
def test_a_run_that_is_too_long_or_too_late_is_undone_and_says_why(
    workflow: OneWorkflow, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = {"id": "undo", "kind": "update-article", "article_id": 1, "set": {"status": "unpublished"}}
    publish = {"id": "publish", "kind": "update-article", "article_id": 1, "set": {"status": "published"}}
    workflow.save({**publish, "compensate": undone}, http("one", receiver))
    monkeypatch.setattr(workflow_history, "EXECUTION_LIMIT", 3)
    for _ in range(2):  # The second time as whoever finds the run ended: the same words, nothing done again.
        with pytest.raises(WorkflowTooLong, match="more than 3 step executions"):
            workflow.tick("long")
    assert (workflow.article().status, workflow.run().status, workflow.article().version) == (
        "unpublished",
        "compensated",
        3,
    )
    assert workflow.article().published_at is not None

    workflow.save({**publish, "compensate": undone}, {"id": "nap", "kind": "delay", "seconds": 100})
    monkeypatch.setattr(workflow_history, "EXECUTION_LIMIT", 2_000)
    with pytest.raises(Waiting):
        workflow.tick("late")
    with workflow.services.database.session() as session:
        session.execute(update(WorkflowRun).values(deadline_at=datetime.now(UTC) - timedelta(seconds=1)))
    for _ in range(2):
        with pytest.raises(WorkflowTimedOut):
            workflow.tick("late")
    assert workflow.article().status == "unpublished"


def test_a_branch_that_was_done_is_undone_though_another_one_failed_before_it_was_looked_at(
    workflow: OneWorkflow, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(500), Answer(body=b"{}"), Answer(400), Answer(body=b"{}")]
    workflow.save(
        http("first", receiver, compensate=http("undo_first", receiver)),
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [http("fails", receiver, retry={"attempts": 2, "backoff_seconds": 60})]},
            {"steps": [http("done", receiver, compensate=http("undo_done", receiver))]},
        ]},
    )  # fmt: skip
    with pytest.raises(Waiting):
        workflow.tick()
    workflow.due_now()
    with pytest.raises(StepFailed):
        workflow.tick()

    assert paths(receiver) == ["first", "fails", "done", "fails", "undo_done", "undo_first"]
    assert workflow.run().status == "compensated"


def test_what_was_undone_is_not_undone_again_after_a_replay_that_fails_sooner(
    workflow: OneWorkflow, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(body=b"{}")] * 2 + [Answer(400)] + [Answer(body=b"{}")] * 2 + [Answer(400)]
    workflow.save(
        http("one", receiver, compensate=http("undo_one", receiver)),
        http("two", receiver, compensate=http("undo_two", receiver)),
        http("three", receiver),
    )
    with pytest.raises(StepFailed):
        workflow.tick()
    replayed(workflow)
    with pytest.raises(StepFailed, match=r"steps\[0\]"):
        workflow.tick()

    assert paths(receiver) == ["one", "two", "three", "undo_two", "undo_one", "one"]


def test_each_round_of_a_loop_is_undone_with_its_own_outputs(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b'{"id": 1}'), Answer(body=b'{"id": 2}'), Answer(400), Answer(body=b"{}")]
    undo = http("undo", receiver, body={"id": "{{ steps.make.body.id }}", "item": "{{ item }}"})
    workflow.save(
        {"id": "each", "kind": "repeat", "over": "input.list", "max_items": 3,
         "steps": [http("make", receiver, compensate=undo)]},
        http("after", receiver),
        inputs={"list": {"type": "array"}},
    )  # fmt: skip
    with pytest.raises(StepFailed):
        workflow.tick(list=["a", "b"])

    undone = [json.loads(request.body) for request in receiver.requests if request.path == "/undo"]
    assert undone == [{"id": 2, "item": "b"}, {"id": 1, "item": "a"}]


def test_jobs_taken_out_because_a_sibling_failed_are_begun_anew_by_a_replay(
    workflow: OneWorkflow, receiver: HttpReceiver, client: redis.Redis
) -> None:
    receiver.answers = [Answer(500), Answer(400), Answer(body=b"{}")]
    workflow.save(
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [{"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}}]},
            {"steps": [http("fails", receiver, retry={"attempts": 2, "backoff_seconds": 60})]},
        ]},
    )  # fmt: skip
    with pytest.raises(Waiting):
        workflow.tick()
    workflow.due_now()
    with pytest.raises(StepFailed, match="HttpStepRefused"):
        workflow.tick()
    assert [row for row in workflow.rows() if row[0] == "search"][-1] == ("search", "cancelled", 1)
    replayed(workflow)
    with pytest.raises(Waiting):
        workflow.tick()

    counts = JobQueries(client, topology_of("search:index")).counts("search:index")  # type: ignore[arg-type]
    assert (counts.cancelled, counts.waiting) == (1, 1)
    assert [row for row in workflow.rows() if row[0] == "search"][-1] == ("search", "waiting", 2)


def test_a_job_that_runs_while_its_run_fails_is_waited_for_and_undone(
    workflow: OneWorkflow, client: redis.Redis, services: Services, receiver: HttpReceiver
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def index(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
        begun.set()
        assert go_on.wait(20)
        return {"made": 7}

    def answer_late(handler: Any, request: Any) -> None:
        if request.path == "/fails":
            assert begun.wait(20)
        receiver_answer(handler, request)

    receiver_answer = receiver.answer
    receiver.answer = answer_late  # type: ignore[method-assign]
    receiver.answers = [Answer(400), Answer(body=b"{}")]
    workflow.save(
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [{"id": "make", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1},
                        "compensate": http("undo", receiver, body={"made": "{{ steps.make.made }}"})}]},
            {"steps": [http("fails", receiver)]},
        ]},
    )  # fmt: skip
    queues = topology_of("workflows:run", "search:index")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow, Processor("index-article", IndexArticle, index)], queues, threads=2):
        job_id = services.producer.enqueue_workflow(workflow="w").job_id
        until(
            lambda: queries.get("workflows:run", job_id).state == "delayed" and workflow.run().status == "compensating"
        )
        go_on.set()
        until(lambda: queries.get("workflows:run", job_id).state == "failed")

    assert [json.loads(r.body) for r in receiver.requests if r.path == "/undo"] == [{"made": 7}]
    assert workflow.run().status == "compensated"


def test_a_replay_gives_a_run_that_was_too_late_its_time_again(
    workflow: OneWorkflow, client: redis.Redis, services: Services, control: Control
) -> None:
    workflow.save({"id": "ok", "kind": "approval", "prompt": "?"}, timeout_hours=1)
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflow(workflow="w").job_id
        until(lambda: queries.get("workflows:run", job_id).state == "delayed")
        with services.database.session() as session:
            session.execute(update(WorkflowRun).values(deadline_at=WorkflowRun.started_at))
        control.promote("workflows:run", job_id)
        until(lambda: queries.get("workflows:run", job_id).error_type == "WorkflowTimedOut")
        control.replay("workflows:run", job_id)
        until(lambda: workflow.run().status == "waiting")
        control.workflows.approve(workflow.run().id, "ok")
        until(lambda: queries.get("workflows:run", job_id).state == "completed")


@pytest.mark.each_database
def test_a_replay_may_bring_the_right_input(
    workflow: OneWorkflow, client: redis.Redis, services: Services, control: Control
) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 0}, inputs={"n": {"type": "integer"}})
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflow(workflow="w", input={}).job_id
        until(lambda: queries.get("workflows:run", job_id).state == "failed")
        control.replay("workflows:run", job_id, data={"workflow": "w", "input": {"n": 1}})
        until(lambda: queries.get("workflows:run", job_id).state == "completed")
    assert workflow.run().input == {"n": 1}
