"""Scheduled reports: each due time once, whichever scheduler leads, and not lost when it dies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy import select

from teknav_ops.errors import InvalidRequest
from teknav_ops.redis_state import keys
from teknav_ops.reports import claims, scheduled
from teknav_ops.reports.scheduled import GRACE, ScheduledReports
from teknav_ops.reports.store import ReportStore
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert, AuditLog
from tests.reports.conftest import Set
from tests.support.waiting import until

pytestmark = pytest.mark.timeout(240)

#: Due on each full hour.
HOURLY = {"name": "typed", "key": "hourly", "cron": "0 * * * *"}
HOUR = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)

Make = Callable[..., ScheduledReports]


class Clock:
    def __init__(self) -> None:
        self.at = HOUR + timedelta(minutes=1)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def scheduler(settings_with: Set, sql: Database, client: redis.Redis, clock: Clock) -> Iterator[Make]:
    made: list[ScheduledReports] = []

    def make(*entries: dict[str, Any], holder: str = "one", **settings: Any) -> ScheduledReports:
        chosen = settings_with(report_schedules=json.dumps(entries or [HOURLY]), site_time_zone="UTC", **settings)
        made.append(ScheduledReports(chosen, client, sql, holder=holder, now=clock))
        return made[-1]

    yield make
    for reports in made:
        reports.close()


def work_off(*schedulers: ScheduledReports) -> None:
    """Look, and wait for what began."""
    for reports in schedulers:
        reports.step()
    until(lambda: not running(), what="the reports' end")


def running() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("report-")]


def runs(settings_with: Set, name: str = "typed") -> list[str]:
    return ReportStore(settings_with().report_root).runs(name)


def alerts(sql: Database) -> list[tuple[str, str]]:
    with sql.reading() as session:
        return [(row.rule, row.queue) for row in session.scalars(select(Alert).where(Alert.resolved_at.is_(None)))]


def test_a_due_time_is_run_once_whoever_looks_and_however_often(
    scheduler: Make, settings_with: Set, sql: Database, clock: Clock
) -> None:
    one, two = scheduler(), scheduler(holder="two")

    work_off(one, two, one, two)
    work_off(one, two)
    # A scheduler that starts later knows it, too.
    work_off(scheduler(holder="three"))

    (run,) = runs(settings_with)
    meta = ReportStore(settings_with().report_root).get("typed", run)
    assert (meta.status, meta.who, meta.schedule) == ("ok", "scheduler", "hourly")
    with sql.reading() as session:
        entries = session.scalars(select(AuditLog).where(AuditLog.action == "report.run")).all()
    assert [entry.detail["schedule"] for entry in entries] == ["hourly"]

    # The next hour is another time; what was missed in between is not run one by one.
    clock.at += timedelta(hours=5)
    work_off(one, two)
    assert len(runs(settings_with)) == 2


def test_what_could_not_begin_in_time_is_left_out(scheduler: Make, settings_with: Set, clock: Clock) -> None:
    clock.at = HOUR + GRACE + timedelta(minutes=1)
    work_off(scheduler())
    assert runs(settings_with) == []


def missed(client: redis.Redis, clock: Clock) -> None:
    """The schedule is known for long, and nobody led when it was due."""
    client.hset(keys.REPORTS_CAME, "hourly", str(int((HOUR - timedelta(minutes=30)).timestamp() * 1000)))
    clock.at = HOUR + GRACE + timedelta(minutes=1)


def test_what_could_not_begin_in_time_is_told_once(
    scheduler: Make, settings_with: Set, client: redis.Redis, sql: Database, clock: Clock
) -> None:
    missed(client, clock)
    work_off(scheduler(), scheduler(holder="two"))

    assert runs(settings_with) == []
    with sql.reading() as session:
        told = [row for row in session.scalars(select(Alert)) if row.queue == "hourly"]
        assert len(told) == 1 and "was due at 2026-11-25 12:00 UTC and could not begin" in told[0].message
    assert client.get(keys.report_claim("hourly", int(HOUR.timestamp() * 1000))) == "done"


def test_what_could_not_begin_in_time_is_caught_up_where_that_is_set(
    scheduler: Make, settings_with: Set, client: redis.Redis, sql: Database, clock: Clock
) -> None:
    missed(client, clock)
    work_off(scheduler({**HOURLY, "catch_up": True}))

    assert len(runs(settings_with)) == 1 and alerts(sql) == []


@pytest.mark.parametrize("catch_up", [False, True])
def test_what_was_due_while_its_forerunner_still_ran_is_told_or_caught_up(
    scheduler: Make, settings_with: Set, client: redis.Redis, sql: Database, clock: Clock, *, catch_up: bool
) -> None:
    missed(client, clock)
    clock.at = HOUR - timedelta(minutes=20)
    entry = {**HOURLY, "catch_up": catch_up}
    scheduler(entry).step()
    # It began before twelve, and ends after a quarter past.
    claims.Comings(client).came("hourly")

    clock.at = HOUR + GRACE + timedelta(minutes=1)
    work_off(scheduler(entry, holder="two"))

    assert (len(runs(settings_with)), alerts(sql)) == ((1, []) if catch_up else (0, [("report-failed", "hourly")]))


def test_times_that_were_changed_were_not_missed(
    scheduler: Make, settings_with: Set, client: redis.Redis, sql: Database, clock: Clock
) -> None:
    missed(client, clock)
    clock.at = HOUR - timedelta(minutes=20)
    scheduler({**HOURLY, "cron": "20 * * * *"}).step()

    clock.at = HOUR + GRACE + timedelta(minutes=1)
    work_off(scheduler({**HOURLY, "catch_up": True}, holder="two"))

    assert (runs(settings_with), alerts(sql)) == ([], [])


def test_a_scheduler_that_died_is_followed_by_one_that_runs_it(
    scheduler: Make, settings_with: Set, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_LEASE_MS", 400)
    # The dead one had taken it, and nothing more.
    assert claims.Claim(client, "hourly", HOUR, "dead").take()

    two = scheduler(holder="two")
    until(lambda: two.step() or running() or runs(settings_with), what="the lease's end")
    work_off(two)

    assert len(runs(settings_with)) == 1
    assert client.get(keys.report_claim("hourly", int(HOUR.timestamp() * 1000))) == "done"


def test_a_scheduler_that_leaves_ends_its_report_and_gives_it_back(
    scheduler: Make, settings_with: Set, sql: Database, client: redis.Redis, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    slow = {"name": "sleeping", "key": "slow", "cron": "0 * * * *", "params": {"seconds": 600, "marker": str(marker)}}
    one = scheduler(slow)
    one.step()
    until(marker.exists, what="the notebook's sleep")

    one.close()

    assert not running()
    (run,) = runs(settings_with, "sleeping")
    assert ReportStore(settings_with().report_root).get("sleeping", run).error == "the scheduler was told to end"
    # It is no failure that anybody must look at, and it is free for the next.
    assert alerts(sql) == []
    assert client.get(keys.report_claim("slow", int(HOUR.timestamp() * 1000))) is None


def test_a_claim_that_ended_while_redis_was_away_is_taken_anew(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = claims.Claim(client, "hourly", HOUR, "one"), claims.Claim(client, "hourly", HOUR, "two")
    assert mine.take()
    (key,) = client.keys("*hourly*")
    client.delete(key)  # Its lease has ended.

    monkeypatch.setattr(claims, "_RENEW_SECONDS", 0.0)
    mine.renew()
    assert not other.take() and client.pttl(key) > 0


@pytest.mark.parametrize("is_back", [True, False])
def test_a_report_that_ends_while_redis_is_away_is_marked_as_run_once_it_is_back(
    scheduler: Make, client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    """Else its claim ends, and the next leader runs it again."""
    monkeypatch.setattr(scheduled, "_AGAIN_SECONDS", 0.01)
    settle, refused = claims.Claim.settle, threading.Semaphore(0)

    def settle_late(claim: claims.Claim) -> None:
        refused.release()
        if not is_back or refused._value < 3:
            raise RedisConnectionError("away")
        settle(claim)

    monkeypatch.setattr(claims.Claim, "settle", settle_late)
    one = scheduler()
    one.step()
    until(lambda: refused._value >= 3, what="the third time")
    if not is_back:
        # Who leaves does not wait for it.
        one.close()
    until(lambda: not running(), what="the thread's end")

    marked = client.get(keys.report_claim("hourly", int(HOUR.timestamp() * 1000)))
    assert (marked == "done") == is_back


def test_who_has_lost_a_claim_neither_keeps_nor_gives_back_that_of_another(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = claims.Claim(client, "hourly", HOUR, "one"), claims.Claim(client, "hourly", HOUR, "two")
    assert mine.take()
    (key,) = client.keys("*hourly*")
    client.delete(key)
    assert other.take()
    client.pexpire(key, 5_000)

    monkeypatch.setattr(claims, "_RENEW_SECONDS", 0.0)
    mine.renew()
    mine.give_back()
    assert client.get(key) == "two" and client.pttl(key) <= 5_000


def test_one_entry_never_runs_twice_at_once(scheduler: Make, settings_with: Set, clock: Clock) -> None:
    slow = {"name": "sleeping", "key": "slow", "cron": "0 * * * *", "params": {"seconds": 600}}
    reports = scheduler(slow)
    reports.step()
    until(running, what="the first")
    clock.at += timedelta(hours=1)
    reports.step()
    assert len(running()) == 1


def test_a_report_that_cannot_be_run_at_all_raises_an_alert_and_is_not_tried_all_the_time(
    scheduler: Make, sql: Database, settings_with: Set, tmp_path: Any
) -> None:
    reports = scheduler()
    # Somebody put a file where the folder should be.
    settings_with().report_root.write_text("not a folder")

    work_off(reports)

    assert alerts(sql) == [("report-failed", "hourly")]
    settings_with().report_root.unlink()
    work_off(reports)
    assert runs(settings_with) == []


def test_a_report_that_does_not_come_is_missed_after_twice_its_period(
    scheduler: Make, sql: Database, clock: Clock, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teknav_ops.reports.scheduled._LOOK_FOR_LATE_SECONDS", -1.0)
    failing = {"name": "failing", "key": "broken", "cron": "0 * * * *"}
    reports = scheduler(failing)
    begun = datetime.now(UTC)
    clock.at = begun
    # New ones are counted from now on; those that are gone from the settings are forgotten.
    client.hset(keys.REPORTS_CAME, "gone", "1")
    client.hset(keys.REPORTS_KNOWN, "gone", "1 x")
    work_off(reports)
    assert set(client.hgetall(keys.REPORTS_CAME)) == set(client.hgetall(keys.REPORTS_KNOWN)) == {"broken"}
    assert ("report-late", "broken") not in alerts(sql)

    clock.at = begun + timedelta(hours=2, minutes=20)
    work_off(reports)
    assert ("report-late", "broken") in alerts(sql)


def test_a_wrong_schedule_is_refused_when_the_scheduler_starts(scheduler: Make) -> None:
    with pytest.raises(InvalidRequest, match="must have five fields"):
        scheduler({"name": "typed", "cron": "0 8"})
    assert not scheduler({"name": "typed"}).is_needed


def test_a_notebook_that_does_not_fit_keeps_neither_the_scheduler_nor_other_reports_from_working(
    scheduler: Make, sql: Database, settings_with: Set
) -> None:
    wrong = {"name": "typed", "key": "wrong", "cron": "0 * * * *", "params": {"hours": "x"}}
    gone = {"name": "gone", "cron": "0 * * * *"}

    reports = scheduler(wrong, gone, HOURLY)
    work_off(reports)
    work_off(reports)

    assert set(alerts(sql)) == {("report-failed", "wrong"), ("report-failed", "gone")}
    assert len(runs(settings_with)) == 1
