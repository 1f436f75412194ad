"""analytics:process: figures that come out right whatever comes late, twice, malformed, or dies in between."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError
from sqlalchemy import func, insert, select, text

from teknav_ops.errors import StorageUnavailable
from teknav_ops.payloads.analytics_process import ProcessEvents
from teknav_ops.storage import analytics
from teknav_ops.storage.database import Database
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.persian import normalise
from teknav_ops.storage.tables import (
    AnalyticsEvent,
    AnalyticsRejectedEvent,
    Article,
    ArticleStatsDaily,
    SearchQueryStatsDaily,
    UserEngagementDaily,
)
from tests.support import warm_python
from tests.support.scale import scaled
from tests.workers.conftest import MakeContext, MakeServices
from workers.analytics_process import process_events
from workers.services import Services

TEHRAN = ZoneInfo("Asia/Tehran")


@cache
def noon() -> datetime:
    """Yesterday's, in Tehran: the same for all tests."""
    return datetime.now(TEHRAN).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture(autouse=True)
def articles(services: Services) -> None:
    with services.database.session() as session:
        for number in range(1, 6):
            words = {"title": f"مقالهٔ {number}", "body": "", "author": "T", "tags": []}
            session.add(Article(id=number, slug=f"a{number}", language="fa", status="published", **words))


BY_KIND: dict[str, dict[str, Any]] = {
    "page_view": {"article_id": 1},
    "read": {"article_id": 1, "seconds": 30},
    "share": {"article_id": 1},
    "search": {"query": "صف", "result_count": 3},
    "search_click": {"query": "صف", "article_id": 1},
}


def event(number: int, kind: str = "page_view", **facts: Any) -> dict[str, Any]:
    ids = {"event_id": f"e{number}", "visitor_id": f"v{number % 3}", "session_id": f"s{number % 4}"}
    return {**ids, "kind": kind, "occurred_at": noon().isoformat(), **BY_KIND.get(kind, {}), **facts}


def run(services: Services, make_context: MakeContext, events: Iterable[dict[str, Any]], **facts: Any) -> Any:
    return process_events(ProcessEvents(events=tuple(events), **facts), make_context(services=services))


def figures(database: Database, table: Any) -> list[tuple[Any, ...]]:
    columns = list(table.__table__.columns)
    with database.reading() as session:
        return [tuple(row) for row in session.execute(select(*columns).order_by(*columns[:2]))]


def all_figures(database: Database) -> list[Any]:
    return [figures(database, table) for table in (ArticleStatsDaily, SearchQueryStatsDaily, UserEngagementDaily)]


def expected(events: Iterable[dict[str, Any]], known_articles: set[int]) -> list[Any]:
    """The same figures, counted the slow way."""
    groups: tuple[dict[Any, list[dict[str, Any]]], ...] = (defaultdict(list), defaultdict(list), defaultdict(list))
    for one in {one["event_id"]: one for one in events}.values():
        day = datetime.fromisoformat(one["occurred_at"]).astimezone(TEHRAN).date()
        if one["kind"] in ("page_view", "read", "share") and one["article_id"] in known_articles:
            groups[0][(day, one["article_id"])].append(one)
        if one["kind"] in ("search", "search_click"):
            groups[1][(day, normalise(one["query"]))].append(one)
        if one.get("user_id"):
            groups[2][(day, one["user_id"])].append(one)

    def count(of: list[dict[str, Any]], kind: str) -> int:
        return sum(one["kind"] == kind for one in of)

    def distinct(of: list[dict[str, Any]], kind: str, name: str) -> int:
        return len({one[name] for one in of if one["kind"] == kind})

    def seconds(of: list[dict[str, Any]]) -> float:
        return float(sum(one.get("seconds") or 0 for one in of))

    articles = [(*key, count(of, "page_view"), distinct(of, "page_view", "visitor_id"), count(of, "read"), seconds(of),
                 count(of, "share")) for key, of in groups[0].items()]  # fmt: skip
    queries = [(*key, min(one["query"] for one in of), count(of, "search"), distinct(of, "search", "visitor_id"),
                sum(one["kind"] == "search" and one["result_count"] == 0 for one in of), count(of, "search_click"))
               for key, of in groups[1].items()]  # fmt: skip
    users = [
        (*key, len({one["session_id"] for one in of}), count(of, "page_view"),
         distinct(of, "page_view", "article_id"), seconds(of), count(of, "search"), count(of, "share"))
        for key, of in groups[2].items()
    ]  # fmt: skip
    return [sorted(articles), sorted(queries), sorted(users)]


def many(count: int, seed: int) -> list[dict[str, Any]]:
    chance = random.Random(seed)
    spellings = ["كتاب", "کتاب", "کتاب‌ها", "Redis", "redis", "می شود", "می‌شود"]
    made = []
    for number in range(count):
        kind = chance.choice(["page_view"] * 5 + ["read", "read", "share", "search", "search", "search_click"])
        one = event(number, kind, visitor_id=f"v{chance.randrange(40)}", session_id=f"s{chance.randrange(90)}",
                    occurred_at=(noon() - timedelta(minutes=chance.randrange(9 * 1440))).isoformat(),
                    user_id=chance.choice([None, f"u{chance.randrange(12)}"]))  # fmt: skip
        if "article_id" in one:
            one["article_id"] = chance.randrange(1, 8)
        if "query" in one:
            one["query"] = chance.choice(spellings)
        if kind == "search":
            one["result_count"] = chance.randrange(3)
        made.append(one)
    return made


@pytest.mark.each_database
def test_figures_are_what_counting_by_hand_gives_and_the_same_events_twice_change_nothing(
    services: Services, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics, "SORT_CHUNK", 300)
    monkeypatch.setattr(analytics, "COUNT_CHUNK", 7)
    events = many(1_000, seed=5)

    summary = run(services, make_context, events)
    assert (summary["received"], summary["new"], summary["sorted"], summary["rejected"]) == (1_000, 1_000, 1_000, 0)
    found = all_figures(services.database)
    by_hand = expected(events, {1, 2, 3, 4, 5})
    assert found[0] == by_hand[0] and found[2] == by_hand[2]
    # Databases do not agree on which of several spellings is the first.
    assert [row[:2] + row[3:] for row in found[1]] == [row[:2] + row[3:] for row in by_hand[1]]

    again = run(services, make_context, events)
    assert (again["new"], again["sorted"], again["counted"]) == (0, 0, 0)
    assert all_figures(services.database) == found


@pytest.mark.each_database
def test_the_same_job_twice_records_the_same_rows(services: Services, make_context: MakeContext) -> None:
    job = ProcessEvents(events=(event(1), {"event_id": "bad"}))
    ctx = make_context()
    process_events(job, ctx)
    process_events(job, ctx)

    with services.database.reading() as session:
        assert session.scalar(select(func.count(AnalyticsEvent.id))) == 1
        assert session.scalar(select(func.count(AnalyticsRejectedEvent.id))) == 1
    assert SqlEffects(services.database).find(ctx.job_id)


@pytest.mark.each_database
def test_late_events_land_in_their_own_day_and_days_are_tehrans(services: Services, make_context: MakeContext) -> None:
    midnight = noon().replace(hour=0)
    run(services, make_context, [event(1, occurred_at=midnight.isoformat())])
    # In UTC both moments are on the day before.
    last_second = midnight - timedelta(seconds=1)
    run(services, make_context, [
        event(2, occurred_at=last_second.astimezone(UTC).isoformat()),
        event(3, occurred_at=(midnight - timedelta(days=40)).isoformat()),
    ])  # fmt: skip

    days = [row[0] for row in figures(services.database, ArticleStatsDaily)]
    assert days == [midnight.date() - timedelta(days=40), midnight.date() - timedelta(days=1), midnight.date()]


@pytest.mark.each_database
def test_another_zone_and_days_of_23_and_25_hours(make_services: MakeServices, make_context: MakeContext) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    days = {row["day"]: row for row in analytics.site_days(
        berlin, datetime(2026, 3, 28, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC))}  # fmt: skip
    assert days[date(2026, 3, 29)]["ends_at"] - days[date(2026, 3, 29)]["starts_at"] == timedelta(hours=23)
    assert days[date(2026, 10, 25)]["ends_at"] - days[date(2026, 10, 25)]["starts_at"] == timedelta(hours=25)

    services = make_services(site_time_zone="UTC")
    midnight = noon().astimezone(UTC).replace(hour=0, minute=0)
    run(services, make_context, [event(1, occurred_at=midnight.isoformat())])
    assert figures(services.database, ArticleStatsDaily)[0][0] == midnight.date()
    with pytest.raises(ValidationError, match="no time zone 'Tehran'"):
        make_services(site_time_zone="Tehran")


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({"kind": "teleport"}, "kind: Input should be"),
        ({"occurred_at": "yesterday"}, "occurred_at"),
        ({"occurred_at": "2026-11-01T10:00:00"}, "timezone"),
        ({"visitor_id": ""}, "visitor_id"),
        ({"visitor_id": "v" * 65}, "visitor_id"),
        ({"article_id": 2**40}, "article_id"),
        ({"seconds": float("nan")}, "seconds"),
        ({"surprise": 1}, "surprise"),
        ({"event_id": None}, "event_id"),
    ],
)
def test_a_malformed_event_is_set_aside_and_the_rest_goes_on(
    services: Services, make_context: MakeContext, bad: dict[str, Any], problem: str
) -> None:
    summary = run(services, make_context, [event(1), {**event(2), **bad}, event(3)])

    assert (summary["new"], summary["rejected"]) == (2, 1)
    with services.database.reading() as session:
        rejected = session.scalars(select(AnalyticsRejectedEvent)).one()
    assert problem in rejected.problem and rejected.position == 1
    assert figures(services.database, ArticleStatsDaily)[0][2] == 2


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        ({"article_id": None}, "no article_id"),
        ({"kind": "search", "query": "  "}, "no query"),
        ({"kind": "read", "seconds": -1}, "seconds out of range"),
        ({"kind": "read", "seconds": None}, "seconds out of range"),
        ({"occurred_at": timedelta(hours=2)}, "in the future"),
        ({"occurred_at": -timedelta(days=401)}, "too old"),
    ],
)
def test_an_event_that_makes_no_sense_keeps_its_problem_and_counts_nowhere(
    services: Services, make_context: MakeContext, facts: dict[str, Any], problem: str
) -> None:
    # A span is from now on, and now is when the test runs.
    told = {
        name: (datetime.now(UTC) + value).isoformat() if isinstance(value, timedelta) else value
        for name, value in facts.items()
    }
    summary = run(services, make_context, [{**event(1, user_id="u1"), **told}])

    assert summary["set_aside"] == 1
    with services.database.reading() as session:
        assert session.scalar(select(AnalyticsEvent.problem)) == problem
    assert all_figures(services.database) == [[], [], []]


def test_events_of_deleted_articles_are_kept_but_make_no_figures(services: Services, make_context: MakeContext) -> None:
    run(services, make_context, [event(1, article_id=77, user_id="u"), event(2)])

    assert [row[1] for row in figures(services.database, ArticleStatsDaily)] == [1]
    with services.database.reading() as session:
        assert session.scalar(select(func.count(AnalyticsEvent.id))) == 2


@pytest.mark.each_database
def test_text_that_databases_cannot_keep_is_cleaned(services: Services, make_context: MakeContext) -> None:
    summary = run(services, make_context, [event(1, "search", query="صف\0ها"), {"event_id": "\0", "x": "\0"}])
    assert (summary["new"], summary["rejected"]) == (1, 1)
    assert figures(services.database, SearchQueryStatsDaily)[0][2] == "صفها"


@pytest.mark.each_database
def test_a_limit_leaves_the_rest_for_the_next_job(services: Services, make_context: MakeContext) -> None:
    events = [event(number) for number in range(10)]
    assert run(services, make_context, events, limit=4)["sorted"] == 4
    assert figures(services.database, ArticleStatsDaily)[0][2] == 4
    assert run(services, make_context, [])["sorted"] == 6
    assert figures(services.database, ArticleStatsDaily)[0][2] == 10


@pytest.mark.each_database
def test_jobs_at_once_lose_and_double_nothing(
    services: Services, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analytics, "SORT_CHUNK", 50)
    monkeypatch.setattr(analytics, "COUNT_CHUNK", 5)
    # Every event is in two jobs; a job takes a thousand at most.
    events = many(min(scaled(600), 1_500), seed=9)
    shares = [events[at::3] + events[(at + 1) % 3 :: 3] for at in range(3)]
    failures: list[BaseException] = []

    def work(share: list[dict[str, Any]]) -> None:
        while True:
            try:
                run(services, make_context, share)
            except StorageUnavailable:
                # Another held the lock for too long: the engine gives the job out again.
                continue
            except BaseException as error:
                failures.append(error)
            return

    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    found, by_hand = all_figures(services.database), expected(events, {1, 2, 3, 4, 5})
    assert (found[0], found[2]) == (by_hand[0], by_hand[2])
    assert analytics.waiting_counts(services.database) == (0, 0)


JOB = """
import sys, structlog
from teknav_ops.engine.processor import JobContext
from teknav_ops.errors import StorageUnavailable
from teknav_ops.payloads.analytics_process import ProcessEvents
from teknav_ops.settings import Settings
from teknav_ops.storage import analytics
from workers.analytics_process import process_events
from workers.services import open_services
analytics.SORT_CHUNK, analytics.COUNT_CHUNK = 40, 3
services = open_services(Settings(database_url=sys.argv[1], redis_url="redis://127.0.0.1:9"))
def report(fraction, note):
    print(fraction, flush=True)
ctx = JobContext(job_id="killed", queue="analytics:process", name="process-events", attempt=1, delivery=1, trace_id="",
                 services=services, log=structlog.get_logger(), report_progress=report)
process_events(ProcessEvents(), ctx)
"""


@pytest.mark.parametrize("lines", [1, 4, 9])
@pytest.mark.each_database
def test_a_job_killed_in_the_middle_is_finished_by_the_next(
    services: Services, make_context: MakeContext, database_url: str, lines: int
) -> None:
    events = many(300, seed=lines)
    with services.database.session() as session:
        rows = [{**one, "occurred_at": datetime.fromisoformat(one["occurred_at"])} for one in events]
        for one in rows:
            session.execute(insert(AnalyticsEvent).values(**one))
    process = warm_python.Process(
        [sys.executable, "-c", JOB, database_url], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None and all(process.stdout.readline() for _ in range(lines))
    process.kill()
    process.wait()
    process.stdout.close()

    process_events(ProcessEvents(), make_context("killed", delivery=2))

    found, by_hand = all_figures(services.database), expected(events, {1, 2, 3, 4, 5})
    assert (found[0], found[2]) == (by_hand[0], by_hand[2])


@pytest.mark.each_database
def test_many_events_in_one_call(
    services: Services, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = scaled(20_000)
    monkeypatch.setattr(analytics, "SORT_CHUNK", count // 20)
    numbers = (
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < :count) select i from n"
        if services.database.is_sqlite
        else "select i from generate_series(1, :count) as n(i)"
    )
    with services.database.session() as session:
        session.execute(
            text(
                "insert into analytics_event"
                " (event_id, kind, occurred_at, received_at, visitor_id, session_id, article_id) "
                f"select 'e' || i, 'page_view', :at, :at, 'v' || (i % 1000), 's', i % 5 + 1 from ({numbers}) as q"
            ).bindparams(at=noon().astimezone(UTC).replace(tzinfo=None) if services.database.is_sqlite else noon()),
            {"count": count},
        )

    seen: list[float] = []
    summary = process_events(
        ProcessEvents(), make_context(report_progress=lambda fraction, note: seen.append(fraction))
    )

    assert summary["sorted"] == count
    # 1,000 visitors, spread over five articles by the same remainder: 200 each.
    assert [row[2:4] for row in figures(services.database, ArticleStatsDaily)] == [(count // 5, 200)] * 5
    assert len(seen) >= 20 and seen == sorted(seen)
