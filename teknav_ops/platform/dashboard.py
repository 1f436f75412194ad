"""The platform's dashboard, computed in advance and kept in Redis.

What is there stays until a newer one is complete, and an older computation never replaces a newer one.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select

from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.storage.dashboard import dashboard_articles, dashboard_days, dashboard_queries, dashboard_users
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AnalyticsEvent

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Totals(_Part):
    """What a day, or a span of days, adds up to; visitors are counted per day."""

    view_count: int = 0
    visitor_count: int = 0
    read_count: int = 0
    share_count: int = 0
    search_count: int = 0
    user_count: int = 0


class Day(Totals):
    """One day of the site."""

    day: date


class TopArticle(_Part):
    """An article and what it got."""

    article_id: int
    title: str
    language: str
    view_count: int
    read_count: int
    read_seconds: float
    share_count: int


class TopQuery(_Part):
    """A query, and how it went."""

    query: str
    search_count: int
    zero_result_count: int
    click_count: int


class Dashboard(_Part):
    """Everything the platform's dashboard shows. `events_through` is the newest event that is counted in."""

    schema_version: int = SCHEMA_VERSION
    made_at: datetime
    events_through: datetime | None
    time_zone: str
    days: tuple[Day, ...]
    totals: Totals
    previous_totals: Totals
    weekly_user_count: int
    articles: tuple[TopArticle, ...]
    queries: tuple[TopQuery, ...]
    unfound_queries: tuple[TopQuery, ...]


def compute_dashboard(database: Database, *, days: int, top: int, time_zone: ZoneInfo, now: datetime) -> Dashboard:
    """Ask everything in one transaction, so that the parts fit together. Days without events are zeros.

    Raises StorageUnavailable.
    """
    last = now.astimezone(time_zone).date()
    first = last - timedelta(days=days - 1)
    before = first - timedelta(days=days)
    with database.reading() as session:
        if not database.is_sqlite:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        found = {
            row["day"]: Day.model_validate(row) for row in map(dict, dashboard_days(session, first=before, last=last))
        }
        by_day = {_as_date(day): entry for day, entry in found.items()}
        newest = select(func.max(AnalyticsEvent.occurred_at)).where(
            AnalyticsEvent.day <= last, AnalyticsEvent.problem.is_(None)
        )
        span = {"first": first, "last": last}
        return Dashboard(
            made_at=now,
            events_through=session.scalar(newest),
            time_zone=time_zone.key,
            days=tuple(by_day.get(day) or Day(day=day) for day in _span(first, days)),
            totals=_sum([by_day[day] for day in _span(first, days) if day in by_day]),
            previous_totals=_sum([by_day[day] for day in _span(before, days) if day in by_day]),
            weekly_user_count=dashboard_users(session, first=last - timedelta(days=6), last=last),
            articles=tuple(TopArticle(**row) for row in dashboard_articles(session, **span, top=top)),
            queries=tuple(TopQuery(**row) for row in dashboard_queries(session, **span, only_unfound=False, top=top)),
            unfound_queries=tuple(
                TopQuery(**row) for row in dashboard_queries(session, **span, only_unfound=True, top=top)
            ),
        )


def _as_date(day: date | str) -> date:
    # A statement from a file has no column types: SQLite answers dates as text.
    return date.fromisoformat(day) if isinstance(day, str) else day


def _span(first: date, days: int) -> list[date]:
    return [first + timedelta(days=number) for number in range(days)]


def _sum(days: list[Day]) -> Totals:
    return Totals(**{name: sum(getattr(day, name) for day in days) for name in Totals.model_fields})


def put_dashboard(client: Client, dashboard: Dashboard, *, days: int, ttl_seconds: int) -> bool:
    """Put it in place; False when a newer one is there. Raises redis-py's errors."""
    call = scripts.put_newest(
        keys.dashboard(days), made_at_ms=int(dashboard.made_at.timestamp() * 1000), ttl_ms=ttl_seconds * 1000,
        json_text=dashboard.model_dump_json(),
    )  # fmt: skip
    return ScriptRunner(client).run(call)


def read_dashboard(client: Client, *, days: int) -> Dashboard | None:
    """The newest dashboard over so many days, or None. How old it is says `made_at`. Raises redis-py's errors."""
    text = client.hget(keys.dashboard(days), "json")
    return Dashboard.model_validate_json(text) if text else None


def utc_moment() -> datetime:
    """Now, to the millisecond that Redis compares."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
