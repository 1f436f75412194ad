"""Mails on their way."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, partial_index, utc_now

#: Rows that will say more: as long as their job has not ended.
UNFINISHED_MAIL: Final = "status IN ('queued', 'sending', 'delayed')"


class EmailQueue(Base):
    """One mail, written under its job's id.

    Status is queued, sending, delayed (it is tried again), sent, failed or cancelled (its job was taken out). What
    happens to the job outside its processor is written by `platform/job_records`.
    """

    __tablename__ = "email_queue"
    __table_args__ = (partial_index("ix_email_queue_unfinished", "id", where=UNFINISHED_MAIL),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    to_address: Mapped[str] = mapped_column(String(320))
    subject: Mapped[str] = mapped_column(String(300))
    language: Mapped[str] = mapped_column(String(2))
    status: Mapped[str] = mapped_column(String(20), default="queued")
    message_id: Mapped[str] = mapped_column(String(200))
    server_answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    attempt_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    sent_at: Mapped[datetime | None]
