"""workflows:run: jobs and workflows that a run starts, side by side and cancelled with it."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from teknav_ops.control import Control
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.errors import Waiting, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.platform.workflow_runs import UnknownRun
from tests.support.http_receiver import HttpReceiver
from tests.support.real_engine import topology_of, working
from tests.support.waiting import until
from tests.workers.workflows_run.conftest import OneWorkflow, http, paths
from workers.services import Services
from workers.services.workflow_record import UnknownWorkflow
from workers.workflows_run import run_workflow


def test_children_run_side_by_side_join_once_and_hold_no_worker(
    workflow: OneWorkflow, client: redis.Redis, services: Services
) -> None:
    """Through the real engine, with one thread: waiting for children must not keep them from running."""
    begun: list[str] = []

    def index(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
        begun.append(f"index {job.article_id}")
        return {"indexed": job.article_id}

    def optimise(job: OptimizeImage, ctx: JobContext[Services]) -> dict[str, Any]:
        begun.append(f"optimise {job.file_id}")
        return {"done": job.file_id}

    workflow.save(
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [{"id": "search", "kind": "enqueue", "queue": "search:index",
                        "payload": {"article_id": "{{ input.a }}"}}]},
            {"steps": [{"id": "image", "kind": "enqueue", "queue": "media:optimize", "payload": {"file_id": 7}}]},
        ]},
        inputs={"a": {"type": "integer"}},
        outputs={"indexed": "{{ steps.search.indexed }}", "image": "{{ steps.image }}"},
    )  # fmt: skip
    queues = topology_of("workflows:run", "search:index", "media:optimize")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    processors = [
        run_workflow, Processor("index-article", IndexArticle, index),
        Processor("optimize-image", OptimizeImage, optimise)
    ]  # fmt: skip
    with working(services, processors, queues, threads=1):
        job = services.producer.enqueue_workflow(workflow="w", input={"a": 5})
        record = until(
            lambda: (r := queries.get("workflows:run", job.job_id)).state == "completed" and r
        )  # fmt: skip

    assert sorted(begun) == ["index 5", "optimise 7"]
    assert record.result["outputs"] == {"indexed": 5, "image": {"done": 7}} and record.attempts_made == 1
    joins = [row for row in workflow.rows() if row[0] == "both"]
    assert joins == [("both", "succeeded", 1)]


def test_a_child_that_is_given_up_fails_the_run_and_a_replay_takes_it_up_there(
    workflow: OneWorkflow, client: redis.Redis, services: Services, control: Control, receiver: HttpReceiver
) -> None:
    fails = [True]

    def index(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
        if fails[0]:
            raise UnknownWorkflow("the child cannot")
        return {"ok": True}

    workflow.save(
        http("first", receiver),
        {"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}},
    )
    queues = topology_of("workflows:run", "search:index")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow, Processor("index-article", IndexArticle, index)], queues, threads=2):
        job_id = services.producer.enqueue_workflow(workflow="w").job_id
        failed = until(lambda: (r := queries.get("workflows:run", job_id)).state == "failed" and r)
        assert failed.error_type == "StepFailed" and "ChildFailed" in (failed.error or "")
        fails[0] = False
        control.replay("workflows:run", job_id)
        until(lambda: queries.get("workflows:run", job_id).state == "completed")

    assert paths(receiver) == ["first"]
    assert [row for row in workflow.rows() if row[0] == "search"] == [
        ("search", "started", 1), ("search", "waiting", 1), ("search", "failed", 1),
        ("search", "started", 2), ("search", "waiting", 2), ("search", "succeeded", 2),
    ]  # fmt: skip


def test_a_cancelled_run_stops_and_takes_out_what_it_waits_for(
    workflow: OneWorkflow, control: Control, client: redis.Redis, receiver: HttpReceiver
) -> None:
    workflow.save(
        {"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}},
        http("after", receiver),
    )
    with pytest.raises(Waiting):
        workflow.tick()
    control.workflows.cancel(1)
    assert workflow.tick() == {"status": "cancelled", "run_id": 1}

    assert paths(receiver) == [] and workflow.run().cancelled_by == "owner"
    assert JobQueries(client, topology_of("search:index")).counts("search:index").cancelled == 1  # type: ignore[arg-type]
    with pytest.raises(WrongState, match="is cancelled"):
        control.workflows.cancel(1)
    with pytest.raises(UnknownRun):
        control.workflows.cancel(99)


@pytest.mark.each_database
def test_a_run_that_is_cancelled_in_the_middle_begins_nothing_more(
    workflow: OneWorkflow, control: Control, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = receiver.answer

    def cancel_first(handler: Any, request: Any) -> None:
        control.workflows.cancel(1)
        answer(handler, request)

    monkeypatch.setattr(receiver, "answer", cancel_first)
    workflow.save(http("one", receiver), http("two", receiver))
    assert workflow.tick()["status"] == "cancelled"
    assert paths(receiver) == ["one"]


@pytest.mark.each_database
def test_a_child_workflow_that_was_cancelled_is_no_success(
    workflow: OneWorkflow, control: Control, client: redis.Redis, services: Services
) -> None:
    workflow.save({"id": "ok", "kind": "approval", "prompt": "?"})
    control.workflows.save({"slug": "parent", "title": "P", "steps": [
        {"id": "child", "kind": "enqueue", "queue": "workflows:run", "payload": {"workflow": "w"}},
    ]})  # fmt: skip
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflow(workflow="parent").job_id
        (child,) = until(lambda: [run for run in control.workflows.runs(status="waiting") if run.workflow == "w"])
        control.workflows.cancel(child.id)
        failed = until(lambda: (r := queries.get("workflows:run", job_id)).state == "failed" and r)
    assert "ChildCancelled" in (failed.error or "")
