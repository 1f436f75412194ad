"""The audit trail, and the effects of jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, partial_index, utc_now

#: What every job leaves when nothing is wrong.
ROUTINE_ACTIONS: Final = ("job.enqueued", "job.completed", "job.started")
#: All the rest: of a thousand entries a handful. SQLite uses their index only for a query that repeats this.
NOTABLE: Final = " AND ".join(f"action <> '{action}'" for action in ROUTINE_ACTIONS)


class AuditLog(Base):
    """One thing that happened. Rows of a queue's stream carry its entry's id, so none is stored twice."""

    __tablename__ = "audit_log"
    __table_args__ = (
        UniqueConstraint("queue", "stream_id"),
        Index("ix_audit_log_at", "at"),
        Index("ix_audit_log_job_id", "job_id"),
        partial_index("ix_audit_log_notable", "at", where=NOTABLE),
        partial_index("ix_audit_log_enqueued_trace_id", "trace_id", where="action = 'job.enqueued'"),
        partial_index("ix_audit_log_requested", "id", where="outcome = 'requested'"),
        partial_index("ix_audit_log_fingerprint", "fingerprint", "at", where="fingerprint IS NOT NULL"),
        # Ids must never be given again: exporters go by them.
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=True)
    at: Mapped[datetime]
    action: Mapped[str] = mapped_column(String(60))
    actor: Mapped[str | None] = mapped_column(String(200))
    queue: Mapped[str | None] = mapped_column(String(100))
    stream_id: Mapped[str | None] = mapped_column(String(40))
    job_id: Mapped[str | None] = mapped_column(String(64))
    job_name: Mapped[str | None] = mapped_column(String(100))
    attempt: Mapped[int | None]
    delivery: Mapped[int | None]
    duration_ms: Mapped[float | None]
    waited_ms: Mapped[float | None]
    error_type: Mapped[str | None] = mapped_column(String(200))
    fingerprint: Mapped[str | None] = mapped_column(String(16))
    trace_id: Mapped[str | None] = mapped_column(String(32))
    outcome: Mapped[str | None] = mapped_column(String(20))
    detail: Mapped[dict[str, Any] | None]


class AuditActionBeat(Base):
    """That an operator's action which takes long goes on: whoever carries it out counts this up while it is open."""

    __tablename__ = "audit_action_beat"

    entry_id: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    beat: Mapped[int]


class AuditCursor(Base):
    """How far a queue's stream has been moved into AuditLog."""

    __tablename__ = "audit_cursor"

    queue: Mapped[str] = mapped_column(String(100), primary_key=True)
    stream_id: Mapped[str] = mapped_column(String(40))
    updated_at: Mapped[datetime] = mapped_column(default=utc_now)


class AuditPosition(Base):
    """Up to which of its ids a reader of AuditLog has done what it does about its entries."""

    __tablename__ = "audit_position"

    reader: Mapped[str] = mapped_column(String(40), primary_key=True)
    last_id: Mapped[int] = mapped_column(BigKey)


class AuditSeal(Base):
    """A link of the chain over AuditLog: a block of its rows, or a checkpoint that says what retention deletes.

    A block's `ids` and `digests` are those of the rows with an id above the block's before it, up to `last_id`. A
    checkpoint has `pruned_to_id` and `pruned_to_number`: rows and links up to these are gone, and their triggers let
    nothing else be deleted.
    """

    __tablename__ = "audit_seal"
    __table_args__ = (
        partial_index("ix_audit_seal_pruned_to_id", "pruned_to_id", where="pruned_to_id IS NOT NULL"),
        partial_index("ix_audit_seal_pruned_to_number", "pruned_to_number", where="pruned_to_number IS NOT NULL"),
    )

    number: Mapped[int] = mapped_column(BigKey, primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigKey)
    row_count: Mapped[int]
    content_hash: Mapped[str] = mapped_column(String(64))
    facts: Mapped[str] = mapped_column(Text)
    newest_at: Mapped[datetime | None]
    pruned_to_id: Mapped[int | None] = mapped_column(BigKey)
    pruned_to_number: Mapped[int | None] = mapped_column(BigKey)
    sealed_at: Mapped[datetime]
    previous_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))
    key_id: Mapped[str] = mapped_column(String(16))
    signature: Mapped[str] = mapped_column(String(64))
    # Long, so last: SQLite reads through them to what stands behind.
    ids: Mapped[bytes]
    digests: Mapped[bytes]


class JobEffect(Base):
    """That a job's effect happened, written in one transaction with it."""

    __tablename__ = "job_effect"

    job_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    queue: Mapped[str] = mapped_column(String(100))
    summary: Mapped[dict[str, Any]]
    recorded_at: Mapped[datetime] = mapped_column(default=utc_now)
