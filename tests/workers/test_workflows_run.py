"""workflows:run: steps in order, side by side, undone, cancelled, and taken up where a dead worker left them."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import select, update

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.errors import NotAllowed, Waiting, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.payloads.media_optimize import OptimizeImage
from teknav_ops.payloads.search_index import IndexArticle
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.platform.workflow_definition import InvalidDefinition
from teknav_ops.platform.workflow_runs import UnknownRun
from teknav_ops.runtime.demo.content import WORKFLOWS
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import Article, AuditLog, WorkflowRun, WorkflowStepExecution
from tests.support import warm_python
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.real_engine import topology_of, working
from tests.support.waiting import until
from tests.workers.conftest import MakeContext, MakeServices
from workers import workflows_run
from workers.services import Services, workflow_history
from workers.services.workflow_history import History, RunTakenOver, WorkflowTooLong
from workers.services.workflow_record import InvalidWorkflowInput, UnknownWorkflow
from workers.workflows_run import StepFailed, WorkflowTimedOut, run_workflow

SAMPLES = Path(str(resources.files("teknav_ops.sample_content").joinpath("workflows")))


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as started:
        started.answers = [Answer(body=b'{"n": 1}')]
        yield started


@pytest.fixture
def control(services: Services, client: redis.Redis) -> Control:
    return Control(
        client, Operator("sara", Role.OWNER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip


class Play:
    """Saves a workflow and runs its ticks by hand."""

    def __init__(self, services: Services, control: Control, make_context: MakeContext) -> None:
        self.services, self.control, self._make_context = services, control, make_context
        self.delivery = 0
        with services.database.session() as session:
            session.add(
                Article(id=1, slug="a", language="fa", title="صف", body="متن", author="T", tags=[], status="draft")
            )

    def save(self, *steps: dict[str, Any], **facts: Any) -> None:
        self.control.workflows.save({"slug": "w", "title": "W", "steps": list(steps), **facts})

    def tick(self, job_id: str = "run-1", **given: Any) -> Any:
        self.delivery += 1
        ctx = self._make_context(job_id, queue="workflows:run", delivery=self.delivery, services=self.services)
        return run_workflow(RunWorkflow(workflow="w", input=given), ctx)

    def rows(self) -> list[tuple[str, str, int]]:
        with self.services.database.reading() as session:
            found = session.scalars(select(WorkflowStepExecution).order_by(WorkflowStepExecution.sequence))
            return [(row.step_id, row.status, row.attempt) for row in found]

    def run(self) -> WorkflowRun:
        with self.services.database.reading() as session:
            return session.scalars(select(WorkflowRun)).one()

    def article(self) -> Article:
        with self.services.database.reading() as session:
            return session.get_one(Article, 1)

    def due_now(self) -> None:
        """Time passes: whatever waits for a moment is due."""
        with self.services.database.session() as session:
            waiting = update(WorkflowStepExecution).where(WorkflowStepExecution.due_at.is_not(None))
            session.execute(waiting.values(due_at=datetime.now(UTC) - timedelta(seconds=1)))


@pytest.fixture
def play(services: Services, control: Control, make_context: MakeContext) -> Play:
    return Play(services, control, make_context)


def http(step_id: str, receiver: HttpReceiver, path: str = "", **facts: Any) -> dict[str, Any]:
    return {"id": step_id, "kind": "http", "url": f"{receiver.url}/{path or step_id}", **facts}


def paths(receiver: HttpReceiver) -> list[str]:
    return [request.path.lstrip("/") for request in receiver.requests]


def test_steps_run_in_order_and_outputs_flow(play: Play, receiver: HttpReceiver) -> None:
    play.save(
        http("one", receiver, body={"who": "{{ input.name }}", "list": [1]}),
        {"id": "publish", "kind": "update-article", "article_id": 1, "set": {"status": "published"}},
        http("two", receiver, body="{{ steps.one.body.n }}", headers={"x-version": "v{{ steps.publish.version }}"}),
        inputs={"name": {"type": "string"}},
        outputs={"n": "{{ steps.two.body.n }}", "text": "n={{ steps.one.body.n }}"},
    )  # fmt: skip

    summary = play.tick(name="سارا")

    assert summary == {"status": "completed", "run_id": 1, "outputs": {"n": 1, "text": "n=1"}}
    assert json.loads(receiver.requests[0].body) == {"who": "سارا", "list": [1]}
    assert receiver.requests[1].body == b"1" and receiver.requests[1].headers["x-version"] == "v2"
    assert receiver.requests[0].headers["idempotency-key"] == "run-1/steps[0]/1"
    assert (play.article().status, play.article().version) == ("published", 2)
    assert play.rows() == [(s, status, 1) for s in ("one", "publish", "two") for status in ("started", "succeeded")]
    assert play.tick(name="سارا")["status"] == "completed" and len(receiver.requests) == 2
    assert SqlEffects(play.services.database).find("run-1") == summary


def test_a_condition_takes_one_way_and_keeps_to_it(play: Play, receiver: HttpReceiver) -> None:
    play.save(
        {"id": "which", "kind": "condition", "when": "input.n > `3`", "then": [http("big", receiver)],
         "else": [http("small", receiver)]},
        inputs={"n": {"type": "integer"}},
    )  # fmt: skip
    play.tick("run-1", n=5)
    play.tick("run-2", n=1)
    assert paths(receiver) == ["big", "small"]


def test_a_loop_runs_once_for_each_item_and_is_bounded(play: Play, receiver: HttpReceiver) -> None:
    play.save(
        {"id": "each", "kind": "repeat", "over": "input.list", "max_items": 3,
         "steps": [http("call", receiver, body={"item": "{{ item }}", "index": "{{ index }}"})]},
        inputs={"list": {"type": "array"}}, outputs={"all": "{{ steps.each }}"},
    )  # fmt: skip
    summary = play.tick(list=["a", "b"])
    assert [json.loads(request.body) for request in receiver.requests] == [
        {"item": "a", "index": 0}, {"item": "b", "index": 1},
    ]  # fmt: skip
    assert len(summary["outputs"]["all"]) == 2
    with pytest.raises(StepFailed, match="4 items; at most 3"):
        play.tick("run-2", list=[1, 2, 3, 4])


def test_retries_of_a_step_are_rows_and_end(play: Play, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(500), Answer(503), Answer(body=b"{}")]
    play.save(http("call", receiver, retry={"attempts": 3, "backoff_seconds": 60}))
    for _ in range(2):
        with pytest.raises(Waiting) as waiting:
            play.tick()
        assert waiting.value.retry_after_seconds > 50
        with pytest.raises(Waiting):
            play.tick()
        play.due_now()
    assert play.tick()["status"] == "completed"
    assert play.rows() == [(("call"), status, attempt) for attempt in (1, 2) for status in ("started", "failed")] + [
        ("call", "started", 3), ("call", "succeeded", 3),
    ]  # fmt: skip
    assert [r.headers["idempotency-key"][-1] for r in receiver.requests] == ["1", "2", "3"]

    receiver.answers = [Answer(500)]
    with pytest.raises(Waiting):
        play.tick("run-2")
    play.due_now()
    with pytest.raises(Waiting):
        play.tick("run-2")
    play.due_now()
    with pytest.raises(StepFailed, match=r"steps\[0\]: HttpStepFailed: the address answered 500"):
        play.tick("run-2")


def test_a_failure_undoes_what_was_done_the_newest_first(play: Play, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b"{}")] * 4 + [Answer(400), Answer(body=b"{}")]
    play.save(
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
        play.tick()

    assert paths(receiver) == ["one", "two", "three", "four", "five", "undo_two", "undo_one"]
    assert (play.article().status, play.run().status) == ("draft", "compensated")
    with pytest.raises(StepFailed):
        play.tick()
    assert len(receiver.requests) == 7


def test_children_run_side_by_side_join_once_and_hold_no_worker(
    play: Play, client: redis.Redis, services: Services
) -> None:
    """Through the real engine, with one thread: waiting for children must not keep them from running."""
    begun: list[str] = []

    def index(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
        begun.append(f"index {job.article_id}")
        return {"indexed": job.article_id}

    def optimise(job: OptimizeImage, ctx: JobContext[Services]) -> dict[str, Any]:
        begun.append(f"optimise {job.file_id}")
        return {"done": job.file_id}

    play.save(
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
        job = services.producer.enqueue_workflows_run(workflow="w", input={"a": 5})
        record = until(
            lambda: (r := queries.get("workflows:run", job.job_id)).state == "completed" and r
        )  # fmt: skip

    assert sorted(begun) == ["index 5", "optimise 7"]
    assert record.result["outputs"] == {"indexed": 5, "image": {"done": 7}} and record.attempts_made == 1
    joins = [row for row in play.rows() if row[0] == "both"]
    assert joins == [("both", "succeeded", 1)]


def test_a_child_that_is_given_up_fails_the_run_and_a_replay_takes_it_up_there(
    play: Play, client: redis.Redis, services: Services, control: Control, receiver: HttpReceiver
) -> None:
    fails = [True]

    def index(job: IndexArticle, ctx: JobContext[Services]) -> dict[str, Any]:
        if fails[0]:
            raise UnknownWorkflow("the child cannot")
        return {"ok": True}

    play.save(
        http("first", receiver),
        {"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}},
    )
    queues = topology_of("workflows:run", "search:index")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow, Processor("index-article", IndexArticle, index)], queues, threads=2):
        job_id = services.producer.enqueue_workflows_run(workflow="w").job_id
        failed = until(lambda: (r := queries.get("workflows:run", job_id)).state == "failed" and r)
        assert failed.error_type == "StepFailed" and "ChildFailed" in (failed.error or "")
        fails[0] = False
        control.replay("workflows:run", job_id)
        until(lambda: queries.get("workflows:run", job_id).state == "completed")

    assert paths(receiver) == ["first"]
    assert [row for row in play.rows() if row[0] == "search"] == [
        ("search", "started", 1), ("search", "waiting", 1), ("search", "failed", 1),
        ("search", "started", 2), ("search", "waiting", 2), ("search", "succeeded", 2),
    ]  # fmt: skip


def test_a_person_decides_and_the_run_goes_on_at_once(
    play: Play, client: redis.Redis, services: Services, control: Control, receiver: HttpReceiver
) -> None:
    play.save({"id": "ok", "kind": "approval", "prompt": "Publish {{ input.t }}?"}, http("after", receiver),
              inputs={"t": {"type": "string"}}, outputs={"by": "{{ steps.ok.by }}"})  # fmt: skip
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflows_run(workflow="w", input={"t": "x"}).job_id
        until(lambda: queries.get("workflows:run", job_id).state == "delayed")
        (run,) = control.workflows.runs(status="waiting")
        control.workflows.approve(run.id, "ok", comment="fine")
        record = until(lambda: (r := queries.get("workflows:run", job_id)).state == "completed" and r)

    assert record.result["outputs"] == {"by": "sara"} and paths(receiver) == ["after"]
    with pytest.raises(WrongState, match="does not wait for a decision"):
        control.workflows.approve(run.id, "ok")
    with services.database.reading() as session:
        approvals = select(AuditLog).where(AuditLog.action == "workflow.approved").order_by(AuditLog.id)
        entry, refused = session.scalars(approvals)
    assert refused.outcome == "refused"
    assert (entry.actor, (entry.detail or {})["comment"]) == ("sara", "fine")


@pytest.mark.each_database
def test_a_no_fails_the_run_or_lets_it_go_on_as_the_step_says(play: Play, control: Control) -> None:
    for policy, ends in (("fail", StepFailed), ("continue", None)):
        play.save(
            {"id": "ok", "kind": "approval", "prompt": "?", "on_reject": policy},
            outputs={"a": "{{ steps.ok.approved }}"},
        )
        with pytest.raises(Waiting):
            play.tick(policy)
        control.workflows.reject(control.workflows.runs()[0].id, "ok", comment="not yet")
        if ends:
            with pytest.raises(StepFailed, match="rejected by sara: not yet"):
                play.tick(policy)
        else:
            assert play.tick(policy)["outputs"] == {"a": False}


def test_approvals_and_delays_come_due(play: Play, receiver: HttpReceiver) -> None:
    play.save(
        {"id": "nap", "kind": "delay", "seconds": 100},
        {"id": "ok", "kind": "approval", "prompt": "?", "timeout_seconds": 60},
    )
    with pytest.raises(Waiting) as waiting:
        play.tick()
    assert 99 < waiting.value.retry_after_seconds <= 100 and play.run().status == "waiting"
    play.due_now()
    with pytest.raises(Waiting):
        play.tick()
    play.due_now()
    with pytest.raises(StepFailed, match="ApprovalTimedOut"):
        play.tick()


def test_a_cancelled_run_stops_and_takes_out_what_it_waits_for(
    play: Play, control: Control, client: redis.Redis, receiver: HttpReceiver
) -> None:
    play.save(
        {"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}},
        http("after", receiver),
    )
    with pytest.raises(Waiting):
        play.tick()
    control.workflows.cancel(1)
    assert play.tick() == {"status": "cancelled", "run_id": 1}

    assert paths(receiver) == [] and play.run().cancelled_by == "sara"
    assert JobQueries(client, topology_of("search:index")).counts("search:index").cancelled == 1  # type: ignore[arg-type]
    with pytest.raises(WrongState, match="is cancelled"):
        control.workflows.cancel(1)
    with pytest.raises(UnknownRun):
        control.workflows.cancel(99)


@pytest.mark.each_database
def test_a_run_that_is_cancelled_in_the_middle_begins_nothing_more(
    play: Play, control: Control, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = receiver.answer

    def cancel_first(handler: Any, request: Any) -> None:
        control.workflows.cancel(1)
        answer(handler, request)

    monkeypatch.setattr(receiver, "answer", cancel_first)
    play.save(http("one", receiver), http("two", receiver))
    assert play.tick()["status"] == "cancelled"
    assert paths(receiver) == ["one"]


@pytest.mark.each_database
def test_a_worker_that_was_overtaken_can_write_nothing(play: Play, services: Services) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 100})
    with pytest.raises(Waiting):
        play.tick()
    stale = History(services.database, 1, play.run().tick)
    with pytest.raises(Waiting):
        play.tick()
    before = play.rows()
    with pytest.raises(RunTakenOver):
        stale.add("steps[0]", "nap", "delay", 1, "succeeded")
    assert play.rows() == before


@pytest.mark.parametrize(("takes", "ends"), [("a tick", "running"), ("a cancellation", "cancelled")])
@pytest.mark.each_database
def test_a_worker_that_is_overtaken_at_the_last_step_does_not_say_how_the_run_ended(
    play: Play, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, takes: str, ends: str
) -> None:
    play.save(http("one", receiver), outputs={"n": "{{ steps.one.body.n }}"})
    fill_outputs = workflows_run.fill

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        with play.services.database.session() as session:
            told = {"tick": WorkflowRun.tick + 1} if takes == "a tick" else {"status": "cancelled"}
            session.execute(update(WorkflowRun).values(**told))
        return fill_outputs(*args, **kwargs)

    monkeypatch.setattr(workflows_run, "fill", overtaken)
    if takes == "a tick":
        with pytest.raises(RunTakenOver):
            play.tick()
        assert SqlEffects(play.services.database).find("run-1") is None
    else:
        assert play.tick()["status"] == "cancelled"
    assert play.run().status == ends


@pytest.mark.parametrize(
    ("given", "words"),
    [({}, "n: is required"), ({"n": "five"}, "n: must be of type integer"), ({"n": 1, "x": 2}, "x: is not declared")],
)
def test_wrong_input_ends_the_run_with_the_field(play: Play, given: dict[str, Any], words: str) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 1}, inputs={"n": {"type": "integer"}})
    with pytest.raises(InvalidWorkflowInput, match=words):
        play.tick(**given)
    assert play.run().status == "failed" and play.rows() == []


@pytest.mark.each_database
def test_a_replay_may_bring_the_right_input(
    play: Play, client: redis.Redis, services: Services, control: Control
) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 0}, inputs={"n": {"type": "integer"}})
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflows_run(workflow="w", input={}).job_id
        until(lambda: queries.get("workflows:run", job_id).state == "failed")
        control.replay("workflows:run", job_id, data={"workflow": "w", "input": {"n": 1}})
        until(lambda: queries.get("workflows:run", job_id).state == "completed")
    assert play.run().input == {"n": 1}


def test_unknown_workflows_late_runs_and_templates_that_give_nothing(play: Play) -> None:
    with pytest.raises(UnknownWorkflow):
        play.tick("run-0")
    play.save({"id": "nap", "kind": "delay", "seconds": 1}, timeout_hours=1)
    with pytest.raises(Waiting):
        play.tick("run-1")
    with play.services.database.session() as session:
        session.execute(update(WorkflowRun).values(deadline_at=WorkflowRun.started_at))
    with pytest.raises(WorkflowTimedOut):
        play.tick("run-1")
    play.save(
        {"id": "set", "kind": "update-article", "article_id": 1, "set": {"title": "{{ input.t.x }}"}},
        inputs={"t": {"type": "object"}},
    )
    with pytest.raises(StepFailed, match="TemplateError"):
        play.tick("run-2", t={})
    with pytest.raises(StepFailed, match=r"no article|ValidationError"):
        play.save({"id": "set", "kind": "update-article", "article_id": 99, "set": {"title": "x"}})
        play.tick("run-3")


def test_a_run_keeps_its_version(play: Play, receiver: HttpReceiver) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 100}, http("old", receiver))
    with pytest.raises(Waiting):
        play.tick()
    play.save(http("new", receiver))
    play.due_now()
    play.tick()
    assert paths(receiver) == ["old"]


NAP = {"id": "a", "kind": "delay", "seconds": 1}


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"id": "a", "kind": "enqueue", "queue": "x", "payload": {}}],
         r"steps\[0\]\.queue: no 'x'; there are ai:content"),
        ([{"id": "a", "kind": "enqueue", "queue": "search:index", "payload": {"nope": 1}}], r"steps\[0\]\.payload"),
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
def test_a_faulty_definition_is_refused_with_the_place(play: Play, steps: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(InvalidDefinition, match=words):
        play.save(*steps)
    assert play.control.workflows.saved() == []


@pytest.mark.each_database
def test_saving_the_same_text_keeps_its_version_and_viewers_may_not(
    play: Play, control: Control, services: Services, client: redis.Redis
) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 1})
    play.save({"id": "nap", "kind": "delay", "seconds": 1})
    play.save({"id": "nap", "kind": "delay", "seconds": 2})
    (saved,) = control.workflows.saved()
    assert (saved.slug, saved.version, saved.created_by) == ("w", 2, "sara")
    viewer = Control(
        client, Operator("reza", Role.VIEWER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        viewer.workflows.save({"slug": "w", "title": "W", "steps": [NAP]})


@pytest.mark.parametrize("slug", WORKFLOWS)
def test_the_samples_are_in_order(control: Control, slug: str) -> None:
    assert control.workflows.save(json.loads((SAMPLES / f"{slug}.json").read_text("utf-8"))).slug == slug


def test_the_sample_that_cannot_succeed_is_undone(play: Play, control: Control, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(400), Answer(body=b"{}")]
    control.workflows.save(json.loads((SAMPLES / "notify-partners.json").read_text("utf-8")) | {"slug": "w"})
    with pytest.raises(StepFailed, match=r"steps\[1\]: HttpStepRefused"):
        play.tick(receiver=receiver.url)
    assert paths(receiver) == ["hooks/ok", "hooks/refusing", "hooks/ok"] and play.run().status == "compensated"


JOB = """
import sys, structlog
from teknav_ops.engine.processor import JobContext
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.settings import Settings
from workers.services import open_services
from workers.workflows_run import run_workflow
services = open_services(Settings(database_url=sys.argv[1], redis_url=sys.argv[2],
                                  outbound_allowed_networks=["127.0.0.0/8"]))
ctx = JobContext(job_id="run-1", queue="workflows:run", name="run-workflow", attempt=1, delivery=1, trace_id="",
                 services=services, log=structlog.get_logger())
run_workflow(RunWorkflow(workflow="w"), ctx)
"""


@pytest.mark.each_database
def test_a_worker_killed_between_steps_is_followed_at_the_right_one(
    play: Play, receiver: HttpReceiver, make_services: MakeServices
) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(delay_seconds=FOR_EVER), Answer(body=b"{}")]
    play.save(http("one", receiver), http("two", receiver), http("three", receiver))
    settings = play.services.settings
    assert settings.database_url is not None
    command = [sys.executable, "-c", JOB, settings.database_url.get_secret_value(), str(settings.redis_url)]
    process = warm_python.Process(command, cwd=Path(__file__).parents[2])
    until(lambda: len(receiver.requests) == 2, seconds=30)
    process.kill()
    process.wait()
    assert play.rows()[-1] == ("two", "started", 1)

    assert play.tick()["status"] == "completed"

    # The one that was cut off is begun again, under the same key; what was done is not.
    assert paths(receiver) == ["one", "two", "two", "three"]
    assert len({request.headers["idempotency-key"] for request in receiver.requests}) == 3
    assert [row for row in play.rows() if row[1] == "succeeded"] == [
        (s, "succeeded", 1) for s in ("one", "two", "three")
    ]


def test_a_worker_killed_after_enqueueing_makes_no_second_child(
    play: Play, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    play.save({"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}})
    add = History.add

    def die_before_waiting(
        self: History, path: str, step_id: str, kind: str, attempt: int, status: str, **facts: Any
    ) -> None:
        if status == "waiting":
            raise KeyboardInterrupt
        add(self, path, step_id, kind, attempt, status, **facts)

    monkeypatch.setattr(History, "add", die_before_waiting)
    with pytest.raises(KeyboardInterrupt):
        play.tick()
    monkeypatch.setattr(History, "add", add)
    with pytest.raises(Waiting):
        play.tick()

    assert JobQueries(client, topology_of("search:index")).counts("search:index").waiting == 1  # type: ignore[arg-type]


@pytest.mark.each_database
def test_a_run_that_is_too_long_or_too_late_is_undone_and_says_why(
    play: Play, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    undone = {"id": "undo", "kind": "update-article", "article_id": 1, "set": {"status": "unpublished"}}
    publish = {"id": "publish", "kind": "update-article", "article_id": 1, "set": {"status": "published"}}
    play.save({**publish, "compensate": undone}, http("one", receiver))
    monkeypatch.setattr(workflow_history, "EXECUTION_LIMIT", 3)
    for _ in range(2):  # The second time as whoever finds the run ended: the same words, nothing done again.
        with pytest.raises(WorkflowTooLong, match="more than 3 step executions"):
            play.tick("long")
    assert (play.article().status, play.run().status, play.article().version) == ("unpublished", "compensated", 3)
    assert play.article().published_at is not None

    play.save({**publish, "compensate": undone}, {"id": "nap", "kind": "delay", "seconds": 100})
    monkeypatch.setattr(workflow_history, "EXECUTION_LIMIT", 2_000)
    with pytest.raises(Waiting):
        play.tick("late")
    with play.services.database.session() as session:
        session.execute(update(WorkflowRun).values(deadline_at=datetime.now(UTC) - timedelta(seconds=1)))
    for _ in range(2):
        with pytest.raises(WorkflowTimedOut):
            play.tick("late")
    assert play.article().status == "unpublished"


@pytest.mark.each_database
def test_later_steps_see_the_article_as_the_run_has_made_it(play: Play, receiver: HttpReceiver) -> None:
    play.save(
        {"id": "name", "kind": "update-article", "article_id": 1, "set": {"title": "عنوان"}},
        http("tell", receiver, body={"title": "{{ article.title }}"}),
        inputs={"article_id": {"type": "integer"}},
    )
    play.tick(article_id=1)
    assert json.loads(receiver.requests[0].body) == {"title": "عنوان"}


def test_a_condition_that_cannot_be_decided_fails_the_run_whoever_takes_it_up(play: Play) -> None:
    nap = {"id": "nap", "kind": "delay", "seconds": 1}
    undecidable = {"id": "if", "kind": "condition", "when": "length(input.n) > `1`", "then": [nap]}
    play.save(undecidable, inputs={"n": {"type": "integer"}})
    for _ in range(2):
        with pytest.raises(StepFailed, match=r"steps\[0\]: TemplateError"):
            play.tick(n=5)


def test_looks_at_an_approval_grow_rarer(play: Play) -> None:
    play.save({"id": "ok", "kind": "approval", "prompt": "?"})
    pauses = []
    for hours in (0, 1, 24):
        with play.services.database.session() as session:
            session.execute(update(WorkflowStepExecution).values(at=datetime.now(UTC) - timedelta(hours=hours)))
        with pytest.raises(Waiting) as waiting:
            play.tick()
        pauses.append(round(waiting.value.retry_after_seconds or 0))
    assert pauses == [30, 600, 600]


def replayed(play: Play) -> None:
    """As after an operator's replay: what failed so far does not count any more."""
    with play.services.database.session() as session:
        told = {"status": "running", "resumed_after": WorkflowRun.execution_count, "finished_at": None}
        session.execute(update(WorkflowRun).values(**told))


def test_a_branch_that_was_done_is_undone_though_another_one_failed_before_it_was_looked_at(
    play: Play, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(500), Answer(body=b"{}"), Answer(400), Answer(body=b"{}")]
    play.save(
        http("first", receiver, compensate=http("undo_first", receiver)),
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [http("fails", receiver, retry={"attempts": 2, "backoff_seconds": 60})]},
            {"steps": [http("done", receiver, compensate=http("undo_done", receiver))]},
        ]},
    )  # fmt: skip
    with pytest.raises(Waiting):
        play.tick()
    play.due_now()
    with pytest.raises(StepFailed):
        play.tick()

    assert paths(receiver) == ["first", "fails", "done", "fails", "undo_done", "undo_first"]
    assert play.run().status == "compensated"


def test_what_was_undone_is_not_undone_again_after_a_replay_that_fails_sooner(
    play: Play, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(body=b"{}")] * 2 + [Answer(400)] + [Answer(body=b"{}")] * 2 + [Answer(400)]
    play.save(
        http("one", receiver, compensate=http("undo_one", receiver)),
        http("two", receiver, compensate=http("undo_two", receiver)),
        http("three", receiver),
    )
    with pytest.raises(StepFailed):
        play.tick()
    replayed(play)
    with pytest.raises(StepFailed, match=r"steps\[0\]"):
        play.tick()

    assert paths(receiver) == ["one", "two", "three", "undo_two", "undo_one", "one"]


def test_each_round_of_a_loop_is_undone_with_its_own_outputs(play: Play, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(body=b'{"id": 1}'), Answer(body=b'{"id": 2}'), Answer(400), Answer(body=b"{}")]
    undo = http("undo", receiver, body={"id": "{{ steps.make.body.id }}", "item": "{{ item }}"})
    play.save(
        {"id": "each", "kind": "repeat", "over": "input.list", "max_items": 3,
         "steps": [http("make", receiver, compensate=undo)]},
        http("after", receiver),
        inputs={"list": {"type": "array"}},
    )  # fmt: skip
    with pytest.raises(StepFailed):
        play.tick(list=["a", "b"])

    undone = [json.loads(request.body) for request in receiver.requests if request.path == "/undo"]
    assert undone == [{"id": 2, "item": "b"}, {"id": 1, "item": "a"}]


def test_jobs_taken_out_because_a_sibling_failed_are_begun_anew_by_a_replay(
    play: Play, receiver: HttpReceiver, client: redis.Redis
) -> None:
    receiver.answers = [Answer(500), Answer(400), Answer(body=b"{}")]
    play.save(
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [{"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}}]},
            {"steps": [http("fails", receiver, retry={"attempts": 2, "backoff_seconds": 60})]},
        ]},
    )  # fmt: skip
    with pytest.raises(Waiting):
        play.tick()
    play.due_now()
    with pytest.raises(StepFailed, match="HttpStepRefused"):
        play.tick()
    assert [row for row in play.rows() if row[0] == "search"][-1] == ("search", "cancelled", 1)
    replayed(play)
    with pytest.raises(Waiting):
        play.tick()

    counts = JobQueries(client, topology_of("search:index")).counts("search:index")  # type: ignore[arg-type]
    assert (counts.cancelled, counts.waiting) == (1, 1)
    assert [row for row in play.rows() if row[0] == "search"][-1] == ("search", "waiting", 2)


def test_a_job_that_runs_while_its_run_fails_is_waited_for_and_undone(
    play: Play, client: redis.Redis, services: Services, receiver: HttpReceiver
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
    play.save(
        {"id": "both", "kind": "parallel", "branches": [
            {"steps": [{"id": "make", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1},
                        "compensate": http("undo", receiver, body={"made": "{{ steps.make.made }}"})}]},
            {"steps": [http("fails", receiver)]},
        ]},
    )  # fmt: skip
    queues = topology_of("workflows:run", "search:index")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow, Processor("index-article", IndexArticle, index)], queues, threads=2):
        job_id = services.producer.enqueue_workflows_run(workflow="w").job_id
        until(lambda: queries.get("workflows:run", job_id).state == "delayed" and play.run().status == "compensating")
        go_on.set()
        until(lambda: queries.get("workflows:run", job_id).state == "failed")

    assert [json.loads(r.body) for r in receiver.requests if r.path == "/undo"] == [{"made": 7}]
    assert play.run().status == "compensated"


@pytest.mark.each_database
def test_a_child_workflow_that_was_cancelled_is_no_success(
    play: Play, control: Control, client: redis.Redis, services: Services
) -> None:
    play.save({"id": "ok", "kind": "approval", "prompt": "?"})
    control.workflows.save({"slug": "parent", "title": "P", "steps": [
        {"id": "child", "kind": "enqueue", "queue": "workflows:run", "payload": {"workflow": "w"}},
    ]})  # fmt: skip
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflows_run(workflow="parent").job_id
        (child,) = until(lambda: [run for run in control.workflows.runs(status="waiting") if run.workflow == "w"])
        control.workflows.cancel(child.id)
        failed = until(lambda: (r := queries.get("workflows:run", job_id)).state == "failed" and r)
    assert "ChildCancelled" in (failed.error or "")


def test_a_run_is_looked_at_when_its_time_is_up_though_its_step_waits_longer(play: Play) -> None:
    play.save({"id": "nap", "kind": "delay", "seconds": 86_400}, timeout_hours=1)
    with pytest.raises(Waiting) as waiting:
        play.tick()
    assert 3_500 < (waiting.value.retry_after_seconds or 0) <= 3_600


@pytest.mark.parametrize("seconds", [-1, 1e300, "soon", None])
def test_a_delay_that_makes_no_sense_fails_its_step(play: Play, seconds: Any) -> None:
    play.save(
        {"id": "nap", "kind": "delay", "seconds": "{{ input.n.seconds }}"}, inputs={"n": {"type": "object"}}
    )  # fmt: skip
    with pytest.raises(StepFailed, match=r"steps\[0\]: (ValueError|TemplateError)"):
        play.tick(n={"seconds": seconds})


def test_a_replay_gives_a_run_that_was_too_late_its_time_again(
    play: Play, client: redis.Redis, services: Services, control: Control
) -> None:
    play.save({"id": "ok", "kind": "approval", "prompt": "?"}, timeout_hours=1)
    queues = topology_of("workflows:run")
    queries = JobQueries(client, queues)  # type: ignore[arg-type]
    with working(services, [run_workflow], queues, threads=1):
        job_id = services.producer.enqueue_workflows_run(workflow="w").job_id
        until(lambda: queries.get("workflows:run", job_id).state == "delayed")
        with services.database.session() as session:
            session.execute(update(WorkflowRun).values(deadline_at=WorkflowRun.started_at))
        control.promote("workflows:run", job_id)
        until(lambda: queries.get("workflows:run", job_id).error_type == "WorkflowTimedOut")
        control.replay("workflows:run", job_id)
        until(lambda: play.run().status == "waiting")
        control.workflows.approve(play.run().id, "ok")
        until(lambda: queries.get("workflows:run", job_id).state == "completed")
