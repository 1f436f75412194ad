"""What readers do, event by event, and what it adds up to per day of the site."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Date, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from teknav_ops.storage.tables.base import Base, BigKey, utc_now


class AnalyticsEvent(Base):
    """One thing a reader did. `event_id` is the client's: the same event sent twice is one row.

    Kind is page_view, read, share, search or search_click. A row is sorted in once: it gets its `day` (of the
    site) or a `problem`, which keeps it out of all figures.
    """

    __tablename__ = "analytics_event"
    __table_args__ = (
        Index(
            "ix_analytics_event_waiting", "id",
            postgresql_where=text("sorted_at is null"), sqlite_where=text("sorted_at is null"),
        ),
        Index("ix_analytics_event_day_article_id", "day", "article_id"),
        Index("ix_analytics_event_day_query_key", "day", "query_key"),
        Index("ix_analytics_event_day_user_id", "day", "user_id"),
    )  # fmt: skip

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    event_id: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[str] = mapped_column(String(20))
    occurred_at: Mapped[datetime]
    received_at: Mapped[datetime] = mapped_column(default=utc_now)
    visitor_id: Mapped[str] = mapped_column(String(64))
    session_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str | None] = mapped_column(String(64))
    article_id: Mapped[int | None]
    language: Mapped[str | None] = mapped_column(String(2))
    query: Mapped[str | None] = mapped_column(String(300))
    result_count: Mapped[int | None]
    seconds: Mapped[float | None]
    day: Mapped[date | None] = mapped_column(Date)
    query_key: Mapped[str | None] = mapped_column(String(300))
    problem: Mapped[str | None] = mapped_column(String(60))
    sorted_at: Mapped[datetime | None]


class AnalyticsRejectedEvent(Base):
    """An event that could not even be stored as one: what came, and why not."""

    __tablename__ = "analytics_rejected_event"
    __table_args__ = (UniqueConstraint("job_id", "position"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    position: Mapped[int]
    problem: Mapped[str] = mapped_column(Text)
    event: Mapped[str] = mapped_column(Text)
    rejected_at: Mapped[datetime] = mapped_column(default=utc_now)


class AnalyticsDay(Base):
    """When a day of the site begins and ends, in UTC: the calendar by which events are sorted in."""

    __tablename__ = "analytics_day"

    time_zone: Mapped[str] = mapped_column(String(60), primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    ends_at: Mapped[datetime]
    day: Mapped[date] = mapped_column(Date)


class AnalyticsQueryForm(Base):
    """What readers typed, and its comparable form."""

    __tablename__ = "analytics_query_form"

    query: Mapped[str] = mapped_column(String(300), primary_key=True)
    query_key: Mapped[str] = mapped_column(String(300))


class AnalyticsDirtyKey(Base):
    """A figure that has to be counted anew, written together with the events that changed it.

    Kind is article, query or user. Rows are only ever added and taken away: two writers never wait for each other.
    """

    __tablename__ = "analytics_dirty_key"
    __table_args__ = (Index("ix_analytics_dirty_key_kind", "kind", "id"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    kind: Mapped[str] = mapped_column(String(10))
    day: Mapped[date] = mapped_column(Date)
    article_id: Mapped[int | None]
    query_key: Mapped[str | None] = mapped_column(String(300))
    user_id: Mapped[str | None] = mapped_column(String(64))


class ArticleStatsDaily(Base):
    """One article on one day."""

    __tablename__ = "article_stats_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    article_id: Mapped[int] = mapped_column(primary_key=True)
    view_count: Mapped[int]
    unique_visitor_count: Mapped[int]
    read_count: Mapped[int]
    read_seconds: Mapped[float]
    share_count: Mapped[int]


class SearchQueryStatsDaily(Base):
    """One query on one day, whatever its spelling; `query` is how it was typed, alphabetically first."""

    __tablename__ = "search_query_stats_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    query_key: Mapped[str] = mapped_column(String(300), primary_key=True)
    query: Mapped[str] = mapped_column(String(300))
    search_count: Mapped[int]
    unique_searcher_count: Mapped[int]
    zero_result_count: Mapped[int]
    click_count: Mapped[int]


class UserEngagementDaily(Base):
    """One signed-in reader on one day."""

    __tablename__ = "user_engagement_daily"

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    user_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    session_count: Mapped[int]
    view_count: Mapped[int]
    article_count: Mapped[int]
    read_seconds: Mapped[float]
    search_count: Mapped[int]
    share_count: Mapped[int]
