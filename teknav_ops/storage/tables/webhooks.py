"""Webhook endpoints, and every attempt to deliver to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, utc_now


class WebhookEndpoint(Base):
    """Where events go. Status is enabled or disabled; no event types means all.

    Secrets are encrypted with the project's key. While a secret is being changed, the previous one signs too.
    """

    __tablename__ = "webhook_endpoint"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    url: Mapped[str] = mapped_column(String(2_000))
    event_types: Mapped[list[Any]] = mapped_column(default=list)
    status: Mapped[str] = mapped_column(String(20), default="enabled")
    sealed_secret: Mapped[str] = mapped_column(Text)
    previous_sealed_secret: Mapped[str | None] = mapped_column(Text)
    previous_secret_until: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(Text)
    failure_count: Mapped[int] = mapped_column(default=0)
    first_failure_at: Mapped[datetime | None]
    last_success_at: Mapped[datetime | None]
    created_by: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class WebhookDeliveryLog(Base):
    """One attempt. Outcome is delivered, failed, throttled, refused, blocked or disabled; `answer` is cut at 2 kB.

    `disabled` stands for a type of event, too, that the endpoint did not ask for.
    """

    __tablename__ = "webhook_delivery_log"
    __table_args__ = (
        UniqueConstraint("job_id", "delivery"),
        Index("ix_webhook_delivery_log_endpoint_id_at", "endpoint_id", "at"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    delivery: Mapped[int]
    attempt: Mapped[int]
    endpoint_id: Mapped[int]
    event_id: Mapped[str] = mapped_column(String(100))
    event_type: Mapped[str] = mapped_column(String(100))
    host: Mapped[str | None] = mapped_column(String(300))
    address: Mapped[str | None] = mapped_column(String(60))
    status_code: Mapped[int | None]
    duration_ms: Mapped[float | None]
    answer: Mapped[str | None] = mapped_column(Text)
    outcome: Mapped[str] = mapped_column(String(20))
    error_type: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=utc_now)
