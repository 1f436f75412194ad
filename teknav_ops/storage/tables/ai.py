"""What AI runs cost, what they wrote, and what they think of an article."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, partial_index, utc_now

#: Runs whose end nobody has told yet.
UNFINISHED_RUNS: Final = "status = 'running'"


class AiRun(Base):
    """One attempt of an AI job: who answered, what it took, how it ended.

    Status is running, succeeded, failed, stopped (a budget forbade the call) or lost (its worker died, or could not
    say how it ended). `reserved_micro_usd` and `reserved_tokens` are the most this run may take; they count against
    the day's budget until the true figures are known, and for good when the worker died or no answer came. Money is in
    millionths of a US dollar, whole numbers that add up exactly on both databases; it is null where no price is known.
    """

    __tablename__ = "ai_run"
    __table_args__ = (
        UniqueConstraint("job_id", "delivery"),
        Index("ix_ai_run_started_at", "started_at"),
        Index("ix_ai_run_article_id", "article_id"),
        partial_index("ix_ai_run_unfinished", "id", where=UNFINISHED_RUNS),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    delivery: Mapped[int]
    attempt: Mapped[int]
    task: Mapped[str] = mapped_column(String(40))
    article_id: Mapped[int | None]
    provider: Mapped[str] = mapped_column(String(60))
    model: Mapped[str] = mapped_column(String(120))
    status: Mapped[str] = mapped_column(String(20))
    call_count: Mapped[int] = mapped_column(default=0)
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    cost_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    reserved_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    reserved_tokens: Mapped[int] = mapped_column(default=0)
    duration_ms: Mapped[float | None]
    error_type: Mapped[str | None] = mapped_column(String(200))
    error: Mapped[str | None] = mapped_column(Text)
    trace_id: Mapped[str] = mapped_column(String(32))
    started_at: Mapped[datetime] = mapped_column(default=utc_now)
    finished_at: Mapped[datetime | None]


class AiEventLog(Base):
    """One thing that happened in a run: answered, rejected (output unfit), call-failed; at last its status."""

    __tablename__ = "ai_event_log"
    __table_args__ = (Index("ix_ai_event_log_run_id", "run_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ai_run.id", ondelete="CASCADE"))
    at: Mapped[datetime] = mapped_column(default=utc_now)
    kind: Mapped[str] = mapped_column(String(20))
    model: Mapped[str | None] = mapped_column(String(120))
    input_tokens: Mapped[int] = mapped_column(default=0)
    output_tokens: Mapped[int] = mapped_column(default=0)
    cost_micro_usd: Mapped[int | None] = mapped_column(BigInteger)
    duration_ms: Mapped[float | None]
    detail: Mapped[str | None] = mapped_column(Text)


class AiDraft(Base):
    """A text an editor may take over. Kind is draft, summary or translation; nothing is published by it."""

    __tablename__ = "ai_draft"
    __table_args__ = (Index("ix_ai_draft_article_id", "article_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ai_run.id"))
    kind: Mapped[str] = mapped_column(String(20))
    article_id: Mapped[int | None]
    article_version: Mapped[int | None]
    language: Mapped[str] = mapped_column(String(2))
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ArticleVersion(Base):
    """A proposed version of an article. Status is proposed, accepted or refused; an editor decides."""

    __tablename__ = "article_version"
    __table_args__ = (Index("ix_article_version_article_id", "article_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ai_run.id"))
    article_id: Mapped[int]
    based_on_version: Mapped[int]
    status: Mapped[str] = mapped_column(String(20), default="proposed")
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    changes: Mapped[list[Any]]
    provider: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class AIReport(Base):
    """A provider's review: a score (0 to 100) and evidence per criterion, each quote found in the article."""

    __tablename__ = "ai_report"
    __table_args__ = (Index("ix_ai_report_article_id", "article_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("ai_run.id"))
    article_id: Mapped[int]
    article_version: Mapped[int]
    score: Mapped[float]
    criteria: Mapped[dict[str, Any]]
    summary: Mapped[str] = mapped_column(Text)
    provider: Mapped[str] = mapped_column(String(60))
    created_at: Mapped[datetime] = mapped_column(default=utc_now)


class ArticleQualityReport(Base):
    """What can be measured without an opinion. A measure that does not exist for the language is absent."""

    __tablename__ = "article_quality_report"
    __table_args__ = (Index("ix_article_quality_report_article_id", "article_id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    article_id: Mapped[int]
    article_version: Mapped[int]
    language: Mapped[str] = mapped_column(String(2))
    measures: Mapped[dict[str, Any]]
    findings: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
