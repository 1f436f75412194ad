"""One workflow at a time, whose ticks a test runs by hand."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from teknav_ops.control import Control
from teknav_ops.payloads.workflows_run import RunWorkflow
from teknav_ops.storage.tables import Article, WorkflowRun, WorkflowStepExecution
from tests.support.http_receiver import Answer, HttpReceiver
from tests.workers.conftest import MakeContext
from workers.services import Services
from workers.workflows_run import run_workflow


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with HttpReceiver() as started:
        started.answers = [Answer(body=b'{"n": 1}')]
        yield started


class OneWorkflow:
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
def workflow(services: Services, control: Control, make_context: MakeContext) -> OneWorkflow:
    return OneWorkflow(services, control, make_context)


def http(step_id: str, receiver: HttpReceiver, path: str = "", **facts: Any) -> dict[str, Any]:
    return {"id": step_id, "kind": "http", "url": f"{receiver.url}/{path or step_id}", **facts}


def paths(receiver: HttpReceiver) -> list[str]:
    return [request.path.lstrip("/") for request in receiver.requests]
