"""Workflows: what they are, their runs, and everything that happened to each step."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import JSON, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, partial_index, utc_now

#: Runs that will say more; one that is cancelled, too, until what it waited for is taken out.
UNFINISHED_WORKFLOWS: Final = "finished_at IS NULL"


class WorkflowDefinition(Base):
    """One version of a workflow. Rows are never changed: a new text is a new version."""

    __tablename__ = "workflow_definition"
    __table_args__ = (UniqueConstraint("slug", "version"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    slug: Mapped[str] = mapped_column(String(80))
    version: Mapped[int]
    definition: Mapped[dict[str, Any]]
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class WorkflowRun(Base):
    """One run, written under its job's id.

    Status is running, waiting, compensating, completed, failed, compensated (failed, and what could be was
    undone) or cancelled. `tick` is the fencing number of whoever works on the run: a worker that holds an older
    one can write nothing. `execution_count` numbers the run's step executions. `resumed_after` is the number of
    the last one before the newest replay; failures up to it do not count any more.
    """

    __tablename__ = "workflow_run"
    __table_args__ = (
        Index("ix_workflow_run_status_id", "status", "id"),
        Index("ix_workflow_run_workflow", "workflow"),
        partial_index("ix_workflow_run_unfinished", "id", where=UNFINISHED_WORKFLOWS),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    workflow: Mapped[str] = mapped_column(String(80))
    version: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(20))
    input: Mapped[dict[str, Any]]
    outputs: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    failed_path: Mapped[str | None] = mapped_column(String(300))
    error_type: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    depth: Mapped[int] = mapped_column(default=0)
    tick: Mapped[int] = mapped_column(default=0)
    execution_count: Mapped[int] = mapped_column(default=0)
    resumed_after: Mapped[int] = mapped_column(default=0)
    replay_count: Mapped[int] = mapped_column(default=0)
    cancelled_by: Mapped[str | None] = mapped_column(String(200))
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    deadline_at: Mapped[datetime | None]
    wake_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class WorkflowStepExecution(Base):
    """One change of a step's status; rows are only added.

    Status is started, waiting, succeeded, failed, skipped, cancelled or compensated. `due_at` is when a waiting
    step goes on, or when a failed one is tried again; a failed step without it has failed for good.
    """

    __tablename__ = "workflow_step_execution"
    __table_args__ = (
        UniqueConstraint("run_id", "sequence"),
        Index("ix_workflow_step_execution_child_job_id", "child_job_id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("workflow_run.id", ondelete="CASCADE"))
    sequence: Mapped[int]
    path: Mapped[str] = mapped_column(String(300))
    step_id: Mapped[str] = mapped_column(String(40))
    kind: Mapped[str] = mapped_column(String(20))
    attempt: Mapped[int]
    status: Mapped[str] = mapped_column(String(20))
    input: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    output: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    error_type: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    child_queue: Mapped[str | None] = mapped_column(String(100))
    child_job_id: Mapped[str | None] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(default=utc_now)
    due_at: Mapped[datetime | None]
