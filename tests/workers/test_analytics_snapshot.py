"""analytics:snapshot: the dashboard's figures, and how they get into Redis."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis

from teknav_ops.payloads.analytics_process import ProcessEvents
from teknav_ops.payloads.analytics_snapshot import SnapshotDashboard
from teknav_ops.platform.dashboard import compute_dashboard, put_dashboard, read_dashboard, utc_moment
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.workers.conftest import MakeContext, MakeServices
from tests.workers.test_analytics_process import articles, event, noon
from workers.analytics_process import process_events
from workers.analytics_snapshot import snapshot_dashboard
from workers.services import Services

__all__ = ["articles"]


def at(days_ago: int, number: int, kind: str = "page_view", **facts: Any) -> dict[str, Any]:
    return event(number, kind, occurred_at=(noon() - timedelta(days=days_ago)).isoformat(), **facts)


EVENTS = [
    at(0, 1, visitor_id="a", user_id="u1"), at(0, 2, visitor_id="a"), at(0, 3, visitor_id="b", article_id=2),
    at(0, 4, "read", article_id=2, seconds=90), at(0, 5, "share"),
    at(2, 6, article_id=2, user_id="u1"), at(2, 7, article_id=2, user_id="u2"),
    at(1, 8, "search", query="كتاب‌ها", result_count=0), at(1, 9, "search", query="کتاب‌ها", result_count=2),
    at(1, 10, "search", query="Redis", result_count=5), at(1, 11, "search_click", query="redis"),
    # The window before: two views. Before that: nothing that counts.
    at(8, 12), at(9, 13), at(30, 14),
]  # fmt: skip


@pytest.fixture
def counted(services: Services, make_context: MakeContext) -> Services:
    process_events(ProcessEvents(events=tuple(EVENTS)), make_context())
    return services


def test_the_figures_are_right_and_every_day_is_there(
    counted: Services, make_context: MakeContext, client: redis.Redis
) -> None:
    summary = snapshot_dashboard(SnapshotDashboard(days=7, top=5), make_context())
    board = read_dashboard(client, days=7)  # type: ignore[arg-type]

    assert summary["is_newest"] and board is not None
    # By their dates: in Tehran, a day may begin while the tests run.
    newest = noon().date()
    figures = {newest: (3, 2), newest - timedelta(days=2): (2, 2)}
    assert [(day.view_count, day.visitor_count) for day in board.days] == [
        figures.get(day.day, (0, 0)) for day in board.days
    ]
    assert set(figures) < {day.day for day in board.days}
    days_back = [(board.days[-1].day - day.day).days for day in board.days]
    assert days_back == [6, 5, 4, 3, 2, 1, 0]
    assert timedelta() <= datetime.now(ZoneInfo("Asia/Tehran")).date() - board.days[-1].day <= timedelta(days=1)
    totals = board.totals
    assert (totals.view_count, totals.read_count, totals.share_count, totals.search_count) == (5, 1, 1, 3)
    assert (board.previous_totals.view_count, board.weekly_user_count) == (2, 2)
    assert [(top.article_id, top.view_count, top.read_seconds) for top in board.articles] == [(2, 3, 90.0), (1, 2, 0.0)]
    assert board.articles[0].title == "مقالهٔ 2"
    assert [(query.search_count, query.zero_result_count, query.click_count) for query in board.queries] == [
        (2, 1, 0), (1, 0, 1),
    ]  # fmt: skip
    assert [query.zero_result_count for query in board.unfound_queries] == [1]
    assert board.events_through == noon() and board.time_zone == "Asia/Tehran"


def test_without_any_event_there_are_zeros(services: Services, make_context: MakeContext, client: redis.Redis) -> None:
    snapshot_dashboard(SnapshotDashboard(days=3), make_context())
    board = read_dashboard(client, days=3)  # type: ignore[arg-type]

    assert board is not None and len(board.days) == 3 and board.totals.view_count == 0
    assert (board.events_through, board.articles) == (None, ())


def test_running_twice_and_late_runs_leave_the_newest(
    counted: Services, make_context: MakeContext, client: redis.Redis
) -> None:
    snapshot_dashboard(SnapshotDashboard(days=7), make_context())
    snapshot_dashboard(SnapshotDashboard(days=7), make_context())
    newest = read_dashboard(client, days=7)  # type: ignore[arg-type]
    late = compute_dashboard(
        counted.database, days=7, top=3, time_zone=ZoneInfo("UTC"), now=datetime.now(UTC) - timedelta(minutes=1)
    )

    assert not put_dashboard(client, late, days=7, ttl_seconds=60)  # type: ignore[arg-type]
    assert read_dashboard(client, days=7) == newest  # type: ignore[arg-type]


@pytest.mark.each_database
def test_it_expires_by_setting_and_each_span_has_its_own(
    make_services: MakeServices, make_context: MakeContext, client: redis.Redis
) -> None:
    services = make_services(dashboard_snapshot_seconds=120)
    snapshot_dashboard(SnapshotDashboard(days=7), make_context(services=services))

    assert 100_000 < client.pttl(keys.dashboard(7)) <= 120_000  # type: ignore[operator]
    assert read_dashboard(client, days=30) is None  # type: ignore[arg-type]


@pytest.mark.each_database
def test_when_redis_is_away_the_old_value_stays_and_the_job_is_tried_again(
    counted: Services, make_services: MakeServices, make_context: MakeContext, redis_server: RedisServer,
    client: redis.Redis,
) -> None:  # fmt: skip
    snapshot_dashboard(SnapshotDashboard(days=7), make_context())
    before = client.hgetall(keys.dashboard(7))
    gone = make_services(redis_url=f"redis://127.0.0.1:{free_port()}", redis_timeout_seconds=0.2)
    with pytest.raises(OUTAGE_ERRORS):
        snapshot_dashboard(SnapshotDashboard(days=7), make_context(services=gone))

    assert client.hgetall(keys.dashboard(7)) == before


def test_moments_are_whole_milliseconds() -> None:
    assert utc_moment().microsecond % 1000 == 0
