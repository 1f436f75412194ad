"""One-time codes on their way; neither codes nor recipients stand here in clear."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, partial_index, utc_now

#: Rows that will say more: as long as their job has not ended.
UNFINISHED_CODES: Final = "status IN ('queued', 'sending', 'delayed')"


class OtpLog(Base):
    """One code, written under its job's id. Status is queued, sending, delayed, sent, failed, expired, limited or
    cancelled (its job was taken out).

    `recipient_digest` and `code_digest` are HMACs under a key that is not in the database: without it, a
    six-digit code could be guessed from a plain hash in no time.
    """

    __tablename__ = "otp_log"
    __table_args__ = (
        Index("ix_otp_log_recipient_digest_created_at", "recipient_digest", "created_at"),
        partial_index("ix_otp_log_unfinished", "id", where=UNFINISHED_CODES),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    channel: Mapped[str] = mapped_column(String(10))
    purpose: Mapped[str] = mapped_column(String(40))
    language: Mapped[str] = mapped_column(String(2))
    recipient_masked: Mapped[str] = mapped_column(String(120))
    recipient_digest: Mapped[str] = mapped_column(String(64))
    code_digest: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(20))
    attempt_count: Mapped[int] = mapped_column(default=0)
    provider_answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
    sent_at: Mapped[datetime | None]
