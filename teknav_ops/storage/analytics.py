"""The daily figures: events are sorted in by range, figures that they change are counted anew from all events.

Both steps are short transactions over sets of rows, and what is left to do is itself in the database:
events that are not sorted in, and dirty keys. So a process may die on any line, and the next one goes on.
A figure is never added to, only counted, so events that come late, twice, or in any order give the same
result, and unique visitors are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import CursorResult, delete, func, select, text
from sqlalchemy.orm import Session

from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.persian import normalise
from teknav_ops.storage.sql_files import statement
from teknav_ops.storage.tables import AnalyticsDay, AnalyticsDirtyKey, AnalyticsEvent, AnalyticsQueryForm
from teknav_ops.storage.tables.base import utc_now

#: Events sorted in by one transaction: about a second's work on SQLite, during which others wait to write.
SORT_CHUNK: Final = 50_000
#: Figures counted by one transaction.
COUNT_CHUNK: Final = 500
#: One process counts at a time: a slower one would write an older figure over a newer one.
_COUNT_LOCK: Final = 7_220_443
_INSERT_ROWS: Final = 500


def sort_in_next(database: Database, time_zone: ZoneInfo, *, limit: int, latest_age_days: int) -> tuple[int, int]:
    """Sort in the next waiting events, `limit` at most: how many, and how many of them cannot be counted.

    Raises StorageUnavailable.
    """
    with database.session() as session:
        waiting = select(AnalyticsEvent.id).where(AnalyticsEvent.sorted_at.is_(None)).order_by(AnalyticsEvent.id)
        found = waiting.limit(min(limit, SORT_CHUNK)).subquery()
        first, last = session.execute(select(func.min(found.c.id), func.max(found.c.id))).one()
        if first is None:
            return 0, 0
        now = utc_now()
        earliest, latest = now - timedelta(days=latest_age_days), now + timedelta(hours=1)
        span = {"first": first, "last": last, "stamp": now}
        _put_query_forms(session, first, last)
        _put_days(session, time_zone, earliest, latest)
        sorted_count = analytics_sort_in(session, **span, zone=time_zone.key, earliest=earliest, latest=latest)
        analytics_mark_articles(session, **span)
        analytics_mark_queries(session, **span)
        analytics_mark_users(session, **span)
        in_span = (AnalyticsEvent.id.between(first, last), AnalyticsEvent.sorted_at == now)
        bad = select(func.count()).where(*in_span, AnalyticsEvent.problem.is_not(None))
        return sorted_count, int(session.scalar(bad) or 0)


def count_next(database: Database, kind: str) -> int:
    """Count the next figures of a kind (article, query, user) anew: how many keys are done with.

    Raises StorageUnavailable.
    """
    count = {"article": analytics_count_articles, "query": analytics_count_queries, "user": analytics_count_users}[kind]
    with database.session() as session:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _COUNT_LOCK})
        dirty = select(AnalyticsDirtyKey.id).where(AnalyticsDirtyKey.kind == kind)
        ids = list(session.scalars(dirty.order_by(AnalyticsDirtyKey.id).limit(COUNT_CHUNK)))
        if ids:
            # The keys were written together with their events, so whoever sees a key sees what it is about.
            count(session, ids=ids)
            session.execute(delete(AnalyticsDirtyKey).where(AnalyticsDirtyKey.id.in_(ids)))
        return len(ids)


def waiting_counts(database: Database) -> tuple[int, int]:
    """Events that are not sorted in, and figures that are not counted."""
    with database.reading() as session:
        events = session.scalar(select(func.count()).where(AnalyticsEvent.sorted_at.is_(None)))
        return int(events or 0), int(session.scalar(select(func.count(AnalyticsDirtyKey.id))) or 0)


def put_events(session: Session, events: Iterable[dict[str, Any]]) -> int:
    """Store events; how many are new. One whose `event_id` is known is left as it is."""
    rows = list(events)
    new_count = 0
    for at in range(0, len(rows), _INSERT_ROWS):
        new = insert_into(session, AnalyticsEvent).values(rows[at : at + _INSERT_ROWS])
        new_count += len(session.scalars(new.on_conflict_do_nothing().returning(AnalyticsEvent.id)).all())
    return new_count


def _put_query_forms(session: Session, first: int, last: int) -> None:
    """Comparable forms are made here, since no database knows Persian: once per spelling, not per event."""
    known = select(AnalyticsQueryForm.query).where(AnalyticsQueryForm.query == AnalyticsEvent.query)
    new = select(AnalyticsEvent.query).where(
        AnalyticsEvent.id.between(first, last), AnalyticsEvent.query.is_not(None), ~known.exists()
    )
    forms = [
        {"query": query, "query_key": normalise(query)[:300]} for query in session.scalars(new.distinct()) if query
    ]
    for at in range(0, len(forms), _INSERT_ROWS):
        rows = insert_into(session, AnalyticsQueryForm).values(forms[at : at + _INSERT_ROWS])
        session.execute(rows.on_conflict_do_nothing())


def _put_days(session: Session, time_zone: ZoneInfo, earliest: datetime, latest: datetime) -> None:
    """The calendar must cover every moment that is allowed; most of it is there already."""
    newest = session.scalar(select(func.max(AnalyticsDay.ends_at)).where(AnalyticsDay.time_zone == time_zone.key))
    oldest = session.scalar(select(func.min(AnalyticsDay.starts_at)).where(AnalyticsDay.time_zone == time_zone.key))
    if newest is not None and oldest is not None and oldest <= earliest and newest > latest:
        return
    rows = list(site_days(time_zone, earliest, latest))
    for at in range(0, len(rows), _INSERT_ROWS):
        new = insert_into(session, AnalyticsDay).values(rows[at : at + _INSERT_ROWS])
        session.execute(new.on_conflict_do_nothing())


def site_days(time_zone: ZoneInfo, earliest: datetime, latest: datetime) -> Iterable[dict[str, Any]]:
    """Rows of the calendar from `earliest` to `latest`; days of 23 and 25 hours come out right."""
    day = earliest.astimezone(time_zone).date()
    while day <= latest.astimezone(time_zone).date() + timedelta(days=1):
        yield {
            "time_zone": time_zone.key, "day": day,
            "starts_at": _midnight(time_zone, day), "ends_at": _midnight(time_zone, day + timedelta(days=1)),
        }  # fmt: skip
        day += timedelta(days=1)


def _midnight(time_zone: ZoneInfo, day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=time_zone).astimezone(UTC)


# One function per file of sql/ -------------------------------------------------------------------


def analytics_sort_in(
    session: Session, *, first: int, last: int, stamp: datetime, zone: str, earliest: datetime, latest: datetime
) -> int:
    """Give the waiting events of a range their day, or their problem; how many there were."""
    return _run(
        session, "analytics_sort_in", first=first, last=last, stamp=stamp, zone=zone, earliest=earliest, latest=latest
    )


def analytics_mark_articles(session: Session, *, first: int, last: int, stamp: datetime) -> int:
    """Mark articles' figures to be counted anew."""
    return _run(session, "analytics_mark_articles", first=first, last=last, stamp=stamp)


def analytics_mark_queries(session: Session, *, first: int, last: int, stamp: datetime) -> int:
    """Mark queries' figures to be counted anew."""
    return _run(session, "analytics_mark_queries", first=first, last=last, stamp=stamp)


def analytics_mark_users(session: Session, *, first: int, last: int, stamp: datetime) -> int:
    """Mark readers' figures to be counted anew."""
    return _run(session, "analytics_mark_users", first=first, last=last, stamp=stamp)


def analytics_count_articles(session: Session, *, ids: list[int]) -> int:
    """Count articles' figures."""
    return _run(session, "analytics_count_articles", ids=ids)


def analytics_count_queries(session: Session, *, ids: list[int]) -> int:
    """Count queries' figures."""
    return _run(session, "analytics_count_queries", ids=ids)


def analytics_count_users(session: Session, *, ids: list[int]) -> int:
    """Count readers' figures."""
    return _run(session, "analytics_count_users", ids=ids)


def _run(session: Session, name: str, **parameters: Any) -> int:
    result = session.execute(statement(name, lists=("ids",) if "ids" in parameters else ()), parameters)
    assert isinstance(result, CursorResult)
    return result.rowcount
