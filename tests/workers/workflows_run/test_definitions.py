"""workflows:run: definitions, their versions, input, and the samples."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import update

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import NotAllowed, Waiting
from teknav_ops.platform.workflow_definition import InvalidDefinition
from teknav_ops.runtime.demo.content import WORKFLOWS
from teknav_ops.storage.tables import WorkflowRun
from tests.support.http_receiver import Answer, HttpReceiver
from tests.workers.workflows_run.conftest import OneWorkflow, http, paths
from workers.services import Services
from workers.services.workflow_record import InvalidWorkflowInput, UnknownWorkflow
from workers.workflows_run import StepFailed, WorkflowTimedOut

SAMPLES = Path(str(resources.files("teknav_ops.sample_content").joinpath("workflows")))


NAP = {"id": "a", "kind": "delay", "seconds": 1}


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "n: is required"), ({"n": "five"}, "n: must be of type integer"), ({"n": 1, "x": 2}, "x: is not declared")],
)
def test_wrong_input_ends_the_run_with_the_field(workflow: OneWorkflow, given: dict[str, Any], words: str) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 1}, inputs={"n": {"type": "integer"}})
    with pytest.raises(InvalidWorkflowInput, match=words):
        workflow.tick(**given)
    assert workflow.run().status == "failed" and workflow.rows() == []


def test_unknown_workflows_late_runs_and_templates_that_give_nothing(workflow: OneWorkflow) -> None:
    with pytest.raises(UnknownWorkflow):
        workflow.tick("run-0")
    workflow.save({"id": "nap", "kind": "delay", "seconds": 1}, timeout_hours=1)
    with pytest.raises(Waiting):
        workflow.tick("run-1")
    with workflow.services.database.session() as session:
        session.execute(update(WorkflowRun).values(deadline_at=WorkflowRun.started_at))
    with pytest.raises(WorkflowTimedOut):
        workflow.tick("run-1")
    workflow.save(
        {"id": "set", "kind": "update-article", "article_id": 1, "set": {"title": "{{ input.t.x }}"}},
        inputs={"t": {"type": "object"}},
    )
    with pytest.raises(StepFailed, match="TemplateError"):
        workflow.tick("run-2", t={})
    with pytest.raises(StepFailed, match=r"no article|ValidationError"):
        workflow.save({"id": "set", "kind": "update-article", "article_id": 99, "set": {"title": "x"}})
        workflow.tick("run-3")


def test_a_run_keeps_its_version(workflow: OneWorkflow, receiver: HttpReceiver) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 100}, http("old", receiver))
    with pytest.raises(Waiting):
        workflow.tick()
    workflow.save(http("new", receiver))
    workflow.due_now()
    workflow.tick()
    assert paths(receiver) == ["old"]


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"id": "a", "kind": "enqueue", "queue": "x", "payload": {}}],
         r"steps\[0\]\.queue: no 'x'; there are ai:content"),
        ([{"id": "a", "kind": "enqueue", "queue": "search:index", "payload": {"nope": 1}}], r"steps\[0\]\.payload"),
        ([{"id": "a", "kind": "http", "url": "https://a..example/"}], r"steps\[0\]\.url: the host is no name"),
        ([{"id": "a", "kind": "http", "url": "https://a.example/", "headers": {"x-to": "سلام {{ input.n }}"}}],
         r"steps\[0\]\.headers\.x-to: must be one line of ASCII"),
        ([{"id": "a", "kind": "http", "url": "https://a.example/", "body": float("nan")}], "must be plain JSON"),
        ([{"id": "a", "kind": "magic"}], r"steps\[0\]\.kind: 'magic'; there are enqueue"),
        ([NAP, NAP], r"steps\[1\]\.id: 'a' is the id of"),
        ([{"id": "a", "kind": "condition", "when": "steps.b.x", "then": [NAP | {"id": "b"}]}],
         r"steps\[0\]\.when: step 'b'"),
        ([{"id": "p", "kind": "parallel", "branches": [
            {"steps": [NAP]},
            {"steps": [NAP | {"id": "b"}, {"id": "c", "kind": "enqueue", "queue": "nope"}]}]}],
         r"steps\[0\]\.branches\[1\]\.steps\[1\]\.queue"),
        ([{"id": "r", "kind": "repeat", "over": "input.x", "max_items": 1000, "steps": [NAP | {"id": "b"}]}],
         r"steps\[0\]\.max_items"),
        ([{"id": "a", "kind": "condition", "when": "((", "then": [NAP | {"id": "b"}]}], "is not JMESPath"),
        ([NAP | {"id": f"s{n}"} for n in range(201)], "over the limit of 200"),
        ([], "steps"),
    ],
)  # fmt: skip
def test_a_faulty_definition_is_refused_with_the_place(
    workflow: OneWorkflow, steps: list[dict[str, Any]], words: str
) -> None:
    with pytest.raises(InvalidDefinition, match=words):
        workflow.save(*steps)
    assert workflow.control.workflows.saved() == []


@pytest.mark.each_database
def test_saving_the_same_text_keeps_its_version_and_viewers_may_not(
    workflow: OneWorkflow, control: Control, services: Services, client: redis.Redis
) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 1})
    workflow.save({"id": "nap", "kind": "delay", "seconds": 1})
    workflow.save({"id": "nap", "kind": "delay", "seconds": 2})
    (saved,) = control.workflows.saved()
    assert (saved.slug, saved.version, saved.created_by) == ("w", 2, "owner")
    viewer = Control(
        client, Operator("reza", Role.VIEWER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        viewer.workflows.save({"slug": "w", "title": "W", "steps": [NAP]})


@pytest.mark.parametrize("slug", WORKFLOWS)
def test_the_samples_are_in_order(control: Control, slug: str) -> None:
    assert control.workflows.save(json.loads((SAMPLES / f"{slug}.json").read_text("utf-8"))).slug == slug


def test_the_sample_that_cannot_succeed_is_undone(
    workflow: OneWorkflow, control: Control, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(400), Answer(body=b"{}")]
    control.workflows.save(json.loads((SAMPLES / "notify-partners.json").read_text("utf-8")) | {"slug": "w"})
    with pytest.raises(StepFailed, match=r"steps\[1\]: HttpStepRefused"):
        workflow.tick(receiver=receiver.url)
    assert paths(receiver) == ["hooks/ok", "hooks/refusing", "hooks/ok"] and workflow.run().status == "compensated"
