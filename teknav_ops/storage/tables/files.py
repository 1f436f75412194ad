"""Uploaded files and their variants."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, partial_index, utc_now

#: Files on which a job has begun, and has not ended.
UNFINISHED_FILES: Final = "status = 'optimizing'"


class File(Base):
    """One upload; `variants` lists format, width, height, bytes, path.

    Status is uploaded, optimizing (a job has begun, and goes on or is tried again), optimized, rejected (the file is at
    fault), failed (its job was given up) or cancelled (it was taken out). `job_id` is the newest job. What happens to
    that outside its processor is written by `platform/job_records`.
    """

    __tablename__ = "file"
    __table_args__ = (
        Index("ix_file_job_id", "job_id"),
        partial_index("ix_file_unfinished", "id", where=UNFINISHED_FILES),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    storage_path: Mapped[str] = mapped_column(String(400), unique=True)
    original_name: Mapped[str] = mapped_column(String(300))
    media_type: Mapped[str | None] = mapped_column(String(100))
    byte_count: Mapped[int | None]
    sha256: Mapped[str | None] = mapped_column(String(64))
    width: Mapped[int | None]
    height: Mapped[int | None]
    placeholder: Mapped[str | None] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default="uploaded")
    variants: Mapped[list[Any]] = mapped_column(default=list)
    error: Mapped[str | None] = mapped_column(Text)
    job_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)
