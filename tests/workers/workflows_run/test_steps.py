"""workflows:run: steps in order, conditions, loops, retries, what waits, and when a run ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from sqlalchemy import select, update

from teknav_ops.control import Control
from teknav_ops.errors import Waiting, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import AuditLog, WorkflowStepExecution
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.real_engine import topology_of, working
from tests.support.waiting import until
from tests.workers.workflows_run.conftest import OneWorkflow, http, paths
from workers.services import Services
from workers.workflows_run import StepFailed, run_workflow


def test_steps_run_in_order_and_outputs_flow(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save(
        http("one", receiver, body={"who": "{{ input.name }}", "list": [1]}),
        {"id": "publish", "kind": "update-article", "article_id": 1, "set": {"status": "published"}},
        http("two", receiver, body="{{ steps.one.body.n }}", headers={"x-version": "v{{ steps.publish.version }}"}),
        inputs={"name": {"type": "string"}},
        outputs={"n": "{{ steps.two.body.n }}", "text": "n={{ steps.one.body.n }}"},
    )  # fmt: skip

    summary = workflow.tick(name="سارا")

    assert summary == {"status": "completed", "run_id": 1, "outputs": {"n": 1, "text": "n=1"}}
    assert json.loads(receiver.requests[0].body) == {"who": "سارا", "list": [1]}
    assert receiver.requests[1].body == b"1" and receiver.requests[1].headers["x-version"] == "v2"
    assert receiver.requests[0].headers["idempotency-key"] == "run-1/steps[0]/1"
    assert (workflow.article().status, workflow.article().version) == ("published", 2)
    assert workflow.rows() == [(s, status, 1) for s in ("one", "publish", "two") for status in ("started", "succeeded")]
    assert workflow.tick(name="سارا")["status"] == "completed" and len(receiver.requests) == 2
    assert SqlEffects(workflow.services.database).find("run-1") == summary


def test_a_condition_takes_one_way_and_keeps_to_it(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save(
        {"id": "which", "kind": "condition", "when": "input.n > `3`", "then": [http("big", receiver)],
         "else": [http("small", receiver)]},
        inputs={"n": {"type": "integer"}},
    )  # fmt: skip
    workflow.tick("run-1", n=5)
    workflow.tick("run-2", n=1)
    assert paths(receiver) == ["big", "small"]


def test_a_loop_runs_once_for_each_item_and_is_bounded(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save(
        {"id": "each", "kind": "repeat", "over": "input.list", "max_items": 3,
         "steps": [http("call", receiver, body={"item": "{{ item }}", "index": "{{ index }}"})]},
        inputs={"list": {"type": "array"}}, outputs={"all": "{{ steps.each }}"},
    )  # fmt: skip
    summary = workflow.tick(list=["a", "b"])
    assert [json.loads(request.body) for request in receiver.requests] == [
        {"item": "a", "index": 0}, {"item": "b", "index": 1},
    ]  # fmt: skip
    assert len(summary["outputs"]["all"]) == 2
    with pytest.raises(StepFailed, match="4 items; at most 3"):
        workflow.tick("run-2", list=[1, 2, 3, 4])


def test_retries_of_a_step_are_rows_and_end(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(500), Answer(503), Answer(body=b"{}")]
    workflow.save(http("call", receiver, retry={"attempts": 3, "backoff_seconds": 60}))
    for _ in range(2):
        with pytest.raises(Waiting) as waiting:
            workflow.tick()
        assert waiting.value.retry_after_seconds > 50
        with pytest.raises(Waiting):
            workflow.tick()
        workflow.due_now()
    assert workflow.tick()["status"] == "completed"
    failed = [("call", status, attempt) for attempt in (1, 2) for status in ("started", "failed")]
    assert workflow.rows() == [*failed, ("call", "started", 3), ("call", "succeeded", 3)]
    assert [r.headers["idempotency-key"][-1] for r in receiver.requests] == ["1", "2", "3"]

    receiver.answers = [Answer(500)]
    with pytest.raises(Waiting):
        workflow.tick("run-2")
    workflow.due_now()
    with pytest.raises(Waiting):
        workflow.tick("run-2")
    workflow.due_now()
    with pytest.raises(StepFailed, match=r"steps\[0\]: HttpStepFailed: the address answered 500"):
        workflow.tick("run-2")


def test_a_person_decides_and_the_run_goes_on_at_once(
    workflow: OneWorkflow, client: redis.Redis, services: Services, control: Control, receiver: HttpReceiver
) -> None:
    workflow.save({"id": "ok", "kind": "approval", "prompt": "Publish {{ input.t }}?"}, http("after", receiver),
              inputs={"t": {"type": "string"}}, outputs={"by": "{{ steps.ok.by }}"})  # fmt: skip
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflow(workflow="w", input={"t": "x"}).job_id
        until(lambda: queries.get("workflows:run", job_id).state == "delayed")
        (run,) = control.workflows.runs(status="waiting")
        control.workflows.approve(run.id, "ok", comment="fine")
        record = until(lambda: (r := queries.get("workflows:run", job_id)).state == "completed" and r)

    assert record.result["outputs"] == {"by": "owner"} and paths(receiver) == ["after"]
    with pytest.raises(WrongState, match="does not wait for a decision"):
        control.workflows.approve(run.id, "ok")
    with services.database.reading() as session:
        approvals = select(AuditLog).where(AuditLog.action == "workflow.approved").order_by(AuditLog.id)
        entry, refused = session.scalars(approvals)
    assert refused.outcome == "refused"
    assert (entry.actor, (entry.detail or {})["comment"]) == ("owner", "fine")


@pytest.mark.each_database
def test_a_no_fails_the_run_or_lets_it_go_on_as_the_step_says(workflow: OneWorkflow, control: Control) -> None:
    for policy, ends in (("fail", StepFailed), ("continue", None)):
        workflow.save(
            {"id": "ok", "kind": "approval", "prompt": "?", "on_reject": policy},
            outputs={"a": "{{ steps.ok.approved }}"},
        )
        with pytest.raises(Waiting):
            workflow.tick(policy)
        control.workflows.reject(control.workflows.runs()[0].id, "ok", comment="not yet")
        if ends:
            with pytest.raises(StepFailed, match="rejected by owner: not yet"):
                workflow.tick(policy)
        else:
            assert workflow.tick(policy)["outputs"] == {"a": False}


def test_approvals_and_delays_come_due(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save(
        {"id": "nap", "kind": "delay", "seconds": 100},
        {"id": "ok", "kind": "approval", "prompt": "?", "timeout_seconds": 60},
    )
    with pytest.raises(Waiting) as waiting:
        workflow.tick()
    assert 99 < waiting.value.retry_after_seconds <= 100 and workflow.run().status == "waiting"
    workflow.due_now()
    with pytest.raises(Waiting):
        workflow.tick()
    workflow.due_now()
    with pytest.raises(StepFailed, match="ApprovalTimedOut"):
        workflow.tick()


@pytest.mark.each_database
def test_later_steps_see_the_article_as_the_run_has_made_it(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save(
        {"id": "name", "kind": "update-article", "article_id": 1, "set": {"title": "عنوان"}},
        http("tell", receiver, body={"title": "{{ article.title }}"}),
        inputs={"article_id": {"type": "integer"}},
    )
    workflow.tick(article_id=1)
    assert json.loads(receiver.requests[0].body) == {"title": "عنوان"}


def test_a_condition_that_cannot_be_decided_fails_the_run_whoever_takes_it_up(workflow: OneWorkflow) -> None:
    nap = {"id": "nap", "kind": "delay", "seconds": 1}
    undecidable = {"id": "if", "kind": "condition", "when": "length(input.n) > `1`", "then": [nap]}
    workflow.save(undecidable, inputs={"n": {"type": "integer"}})
    for _ in range(2):
        with pytest.raises(StepFailed, match=r"steps\[0\]: TemplateError"):
            workflow.tick(n=5)


def test_looks_at_an_approval_grow_rarer(workflow: OneWorkflow) -> None:
    workflow.save({"id": "ok", "kind": "approval", "prompt": "?"})
    pauses = []
    for hours in (0, 1, 24):
        with workflow.services.database.session() as session:
            session.execute(update(WorkflowStepExecution).values(at=datetime.now(UTC) - timedelta(hours=hours)))
        with pytest.raises(Waiting) as waiting:
            workflow.tick()
        pauses.append(round(waiting.value.retry_after_seconds or 0))
    assert pauses == [30, 600, 600]


def test_a_run_is_looked_at_when_its_time_is_up_though_its_step_waits_longer(workflow: OneWorkflow) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 86_400}, timeout_hours=1)
    with pytest.raises(Waiting) as waiting:
        workflow.tick()
    assert 3_500 < (waiting.value.retry_after_seconds or 0) <= 3_600


@pytest.mark.parametrize("seconds", [-1, 1e300, "soon", None])
def test_a_delay_that_makes_no_sense_fails_its_step(workflow: OneWorkflow, seconds: Any) -> None:
    workflow.save(
        {"id": "nap", "kind": "delay", "seconds": "{{ input.n.seconds }}"}, inputs={"n": {"type": "object"}}
    )  # fmt: skip
    with pytest.raises(StepFailed, match=r"steps\[0\]: (ValueError|TemplateError)"):
        workflow.tick(n={"seconds": seconds})
