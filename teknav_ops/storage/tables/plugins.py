"""Plugins, what they keep, and every time they ran."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, utc_now


class Plugin(Base):
    """One installed plugin. `sha256` was taken when it was installed; a module that differs is not run.

    Status is enabled or disabled. Limits: `fuel` in instructions, `memory_bytes`, `time_ms` of wall time.
    """

    __tablename__ = "plugin"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(80), unique=True)
    version: Mapped[str] = mapped_column(String(40))
    name: Mapped[str] = mapped_column(String(200))
    module: Mapped[bytes] = mapped_column(LargeBinary)
    sha256: Mapped[str] = mapped_column(String(64))
    permissions: Mapped[list[Any]]
    allowed_hosts: Mapped[list[Any]]
    fuel: Mapped[int] = mapped_column(BigInteger)
    memory_bytes: Mapped[int]
    time_ms: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="enabled")
    installed_by: Mapped[str] = mapped_column(String(200))
    installed_at: Mapped[datetime] = mapped_column(default=utc_now)


class PluginKv(Base):
    """What a plugin keeps between runs. `version` grows with each write, so that no write is lost to another."""

    __tablename__ = "plugin_kv"

    plugin_id: Mapped[int] = mapped_column(ForeignKey("plugin.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


class PluginExecutionLog(Base):
    """One attempt to run a plugin. Status is succeeded or failed; `reason` says why in one word."""

    __tablename__ = "plugin_execution_log"
    __table_args__ = (
        UniqueConstraint("job_id", "delivery"),
        Index("ix_plugin_execution_log_plugin_at", "plugin", "at"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    delivery: Mapped[int]
    attempt: Mapped[int]
    plugin: Mapped[str] = mapped_column(String(80))
    version: Mapped[str | None] = mapped_column(String(40))
    event: Mapped[str] = mapped_column(String(100))
    status: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(40))
    error: Mapped[str | None] = mapped_column(Text)
    fuel_used: Mapped[int | None] = mapped_column(BigInteger)
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)
    duration_ms: Mapped[float | None]
    host_calls: Mapped[dict[str, Any] | None]
    output: Mapped[dict[str, Any] | None]
    log_lines: Mapped[list[Any] | None]
    at: Mapped[datetime] = mapped_column(default=utc_now)
