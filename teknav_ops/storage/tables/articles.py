"""Articles, their translations, and what readers can find."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from teknav_ops.storage.tables.base import Base, utc_now


class Article(Base):
    """One article. `version` grows with each edit; status is draft, published or unpublished.

    Search engines are shown `seo_title`, `meta_description` and `keywords`. `review_status` is measured
    (no opinion was to be had), passed or needs-work; `ai_score` runs from 0 to 100.
    """

    __tablename__ = "article"

    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(String(200), unique=True)
    language: Mapped[str] = mapped_column(String(2))
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(20), default="draft")
    version: Mapped[int] = mapped_column(default=1)
    author: Mapped[str] = mapped_column(String(200))
    tags: Mapped[list[Any]] = mapped_column(default=list)
    seo_title: Mapped[str | None] = mapped_column(String(200))
    meta_description: Mapped[str | None] = mapped_column(String(400))
    keywords: Mapped[list[Any] | None]
    review_status: Mapped[str | None] = mapped_column(String(20))
    ai_score: Mapped[float | None]
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)

    translations: Mapped[list[Translation]] = relationship(order_by="Translation.language")


class Translation(Base):
    """An article in another language. It is published with its article."""

    __tablename__ = "translation"
    __table_args__ = (UniqueConstraint("article_id", "language"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int] = mapped_column(ForeignKey("article.id", ondelete="CASCADE"))
    language: Mapped[str] = mapped_column(String(2))
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    version: Mapped[int] = mapped_column(default=1)


class SearchDocument(Base):
    """What the search index holds of one article in one language. `normalised` is what is matched."""

    __tablename__ = "search_document"
    __table_args__ = (UniqueConstraint("article_id", "language"), Index("ix_search_document_language", "language"))

    id: Mapped[int] = mapped_column(primary_key=True)
    article_id: Mapped[int]
    language: Mapped[str] = mapped_column(String(2))
    title: Mapped[str] = mapped_column(String(300))
    body: Mapped[str] = mapped_column(Text)
    normalised_title: Mapped[str] = mapped_column(Text)
    normalised: Mapped[str] = mapped_column(Text)
    version: Mapped[int]
    job_id: Mapped[str] = mapped_column(String(64))
    indexed_at: Mapped[datetime] = mapped_column(default=utc_now)
