"""workflows:run: workers that die or are overtaken between two steps."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import update

from teknav_ops.errors import Waiting
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import WorkflowRun
from tests.support import warm_python
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.real_engine import topology_of
from tests.support.waiting import until
from tests.workers.conftest import MakeServices
from tests.workers.workflows_run.conftest import OneWorkflow, http, paths
from workers import workflows_run
from workers.services import Services
from workers.services.workflow_history import History, RunTakenOver

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
def test_a_worker_that_was_overtaken_can_write_nothing(workflow: OneWorkflow, services: Services) -> None:
    workflow.save({"id": "nap", "kind": "delay", "seconds": 100})
    with pytest.raises(Waiting):
        workflow.tick()
    stale = History(services.database, 1, workflow.run().tick)
    with pytest.raises(Waiting):
        workflow.tick()
    before = workflow.rows()
    with pytest.raises(RunTakenOver):
        stale.add("steps[0]", "nap", "delay", 1, "succeeded")
    assert workflow.rows() == before


@pytest.mark.parametrize(("takes", "ends"), [("a tick", "running"), ("a cancellation", "cancelled")])
@pytest.mark.each_database
def test_a_worker_that_is_overtaken_at_the_last_step_does_not_say_how_the_run_ended(
    workflow: OneWorkflow, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, takes: str, ends: str
) -> None:
    workflow.save(http("one", receiver), outputs={"n": "{{ steps.one.body.n }}"})
    fill_outputs = workflows_run.fill

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        with workflow.services.database.session() as session:
            told = {"tick": WorkflowRun.tick + 1} if takes == "a tick" else {"status": "cancelled"}
            session.execute(update(WorkflowRun).values(**told))
        return fill_outputs(*args, **kwargs)

    monkeypatch.setattr(workflows_run, "fill", overtaken)
    if takes == "a tick":
        with pytest.raises(RunTakenOver):
            workflow.tick()
        assert SqlEffects(workflow.services.database).find("run-1") is None
    else:
        assert workflow.tick()["status"] == "cancelled"
    assert workflow.run().status == ends


@pytest.mark.each_database
def test_a_worker_killed_between_steps_is_followed_at_the_right_one(
    workflow: OneWorkflow, receiver: HttpReceiver, make_services: MakeServices
) -> None:
    receiver.answers = [Answer(body=b"{}"), Answer(delay_seconds=FOR_EVER), Answer(body=b"{}")]
    workflow.save(http("one", receiver), http("two", receiver), http("three", receiver))
    settings = workflow.services.settings
    assert settings.database_url is not None
    command = [sys.executable, "-c", JOB, settings.database_url.get_secret_value(), str(settings.redis_url)]
    process = warm_python.Process(command, cwd=Path(__file__).parents[2])
    until(lambda: len(receiver.requests) == 2)
    process.kill()
    process.wait()
    assert workflow.rows()[-1] == ("two", "started", 1)

    assert workflow.tick()["status"] == "completed"

    # The one that was cut off is begun again, under the same key; what was done is not.
    assert paths(receiver) == ["one", "two", "two", "three"]
    assert len({request.headers["idempotency-key"] for request in receiver.requests}) == 3
    assert [row for row in workflow.rows() if row[1] == "succeeded"] == [
        (s, "succeeded", 1) for s in ("one", "two", "three")
    ]


def test_a_worker_killed_after_enqueueing_makes_no_second_child(
    workflow: OneWorkflow, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow.save({"id": "search", "kind": "enqueue", "queue": "search:index", "payload": {"article_id": 1}})
    add = History.add

    def die_before_waiting(
        self: History, path: str, step_id: str, kind: str, attempt: int, status: str, **facts: Any
    ) -> None:
        if status == "waiting":
            raise KeyboardInterrupt
        add(self, path, step_id, kind, attempt, status, **facts)

    monkeypatch.setattr(History, "add", die_before_waiting)
    with pytest.raises(KeyboardInterrupt):
        workflow.tick()
    monkeypatch.setattr(History, "add", add)
    with pytest.raises(Waiting):
        workflow.tick()

    assert JobQueries(client, topology_of("search:index")).counts("search:index").waiting == 1  # type: ignore[arg-type]
