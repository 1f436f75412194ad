"""Alerts, the messages about them, who silenced what, and the hours that slow rules look back on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, utc_now

_IS_OPEN = text("resolved_at is null")
_IS_PENDING = text("sent_at is null and given_up_at is null")


class Alert(Base):
    """One time that a rule's condition held on a queue. There is at most one open alert per rule and queue.

    `since_at` is when the condition began; `opened_at` when it had held long enough.
    """

    __tablename__ = "alert"
    __table_args__ = (
        Index("uq_alert_open", "rule", "queue", unique=True, postgresql_where=_IS_OPEN, sqlite_where=_IS_OPEN),
        Index("ix_alert_opened_at", "opened_at"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    rule: Mapped[str] = mapped_column(String(60))
    kind: Mapped[str] = mapped_column(String(40))
    severity: Mapped[str] = mapped_column(String(10))
    queue: Mapped[str] = mapped_column(String(100))
    since_at: Mapped[datetime]
    opened_at: Mapped[datetime]
    resolved_at: Mapped[datetime | None]
    value: Mapped[float | None]
    unit: Mapped[str] = mapped_column(String(10))
    message: Mapped[str] = mapped_column(Text)
    resolution: Mapped[str | None] = mapped_column(Text)


class AlertDelivery(Base):
    """One message to one channel, written with the change it tells of. Event is opened or resolved.

    `message_id` goes with every attempt, so that a receiver can drop a copy. `notice` is what is said.
    """

    __tablename__ = "alert_delivery"
    __table_args__ = (
        UniqueConstraint("message_id", "channel"),
        Index(
            "ix_alert_delivery_pending", "next_attempt_at", postgresql_where=_IS_PENDING, sqlite_where=_IS_PENDING
        ),
        Index("ix_alert_delivery_created_at", "created_at"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    message_id: Mapped[str] = mapped_column(String(60))
    channel: Mapped[str] = mapped_column(String(330))
    event: Mapped[str] = mapped_column(String(10))
    rule: Mapped[str] = mapped_column(String(60))
    notice: Mapped[dict[str, Any]]
    attempt_count: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime] = mapped_column(default=utc_now)
    sent_at: Mapped[datetime | None]
    given_up_at: Mapped[datetime | None]
    answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AlertSilence(Base):
    """For how long a rule opens no alert on a queue ('' for all), and why."""

    __tablename__ = "alert_silence"
    __table_args__ = (Index("ix_alert_silence_until", "until"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    rule: Mapped[str] = mapped_column(String(60))
    queue: Mapped[str] = mapped_column(String(100))
    until: Mapped[datetime]
    reason: Mapped[str] = mapped_column(Text)
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class QueueHour(Base):
    """How many of a queue's jobs came to their end in one hour, and how many of them failed for good."""

    __tablename__ = "queue_hour"

    queue: Mapped[str] = mapped_column(String(100), primary_key=True)
    hour_at: Mapped[datetime] = mapped_column(primary_key=True)
    finished_count: Mapped[int]
    failed_count: Mapped[int]
