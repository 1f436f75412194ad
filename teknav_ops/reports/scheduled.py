"""Scheduled reports: the leading scheduler's duty. Each due report is run once, in a process of its own."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from teknav_ops.errors import TekNavError
from teknav_ops.payloads.redaction import error_text
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.reports.claims import Claim, Comings
from teknav_ops.reports.cron import Cron
from teknav_ops.reports.desk import ReportDesk, require_extra
from teknav_ops.reports.schedules import Schedule, written_schedules
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.reports")

TICK_SECONDS: Final = 2.0
#: A report that could not begin for so long is told of, or caught up; of several missed times only the last counts.
GRACE: Final = timedelta(minutes=15)
#: What was missed longer ago is no news. Claims are kept for as long.
_MISSED: Final = timedelta(days=7)
_LOOK_FOR_LATE_SECONDS: Final = 60.0
_LATE_PERIODS: Final = 2
_LEAVE_SECONDS: Final = 15.0
#: While Redis is away, between two attempts to say that a report was run.
_AGAIN_SECONDS: Final = 1.0


class ScheduledReports:
    """What is due, and what runs. `step` is called only while this process leads."""

    def __init__(
        self, settings: Settings, client: Client, database: Database, *, holder: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:  # fmt: skip
        """Raises InvalidRequest: a schedule is wrong, or the `lab` extra is missing though there are schedules."""
        timed = [schedule for schedule in written_schedules(settings) if schedule.cron]
        if timed:
            require_extra()
        self._crons = {schedule.key: Cron(schedule.cron or "", settings.site_time_zone) for schedule in timed}
        self._zone = settings.site_time_zone
        self._schedules = {schedule.key: schedule for schedule in timed}
        self._desk = ReportDesk(settings, database) if timed else None
        self._client = client
        self._comings = Comings(client)
        self._holder = holder
        self._now = now
        self._settled: dict[str, datetime] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._is_over = threading.Event()
        self._looked_at = float("-inf")

    @property
    def is_needed(self) -> bool:
        """Whether anything is scheduled."""
        return bool(self._schedules)

    def step(self) -> None:
        """Begin what is due and not begun elsewhere. Raises redis-py's errors during an outage."""
        now = self._now()
        for schedule in self._schedules.values():
            due = self._crons[schedule.key].last_before(now, within=GRACE)
            if due is not None and due != self._settled.get(schedule.key) and self._has_room(schedule):
                self._begin(schedule, due)
        if time.monotonic() - self._looked_at > _LOOK_FOR_LATE_SECONDS:
            self._looked_at = time.monotonic()
            came = self._comings.read(set(self._schedules))
            times = {key: f"{schedule.cron} {self._zone}" for key, schedule in self._schedules.items()}
            for key, since in self._comings.known(times, came).items():
                self._look_for_missed(self._schedules[key], since, now)
            self._look_for_late(came, now)

    def close(self) -> None:
        """End what runs; the next leader runs it again, if it is still due."""
        self._is_over.set()
        deadline = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads.values():
            thread.join(max(0.0, deadline - time.monotonic()))

    def _has_room(self, schedule: Schedule) -> bool:
        self._threads = {key: thread for key, thread in self._threads.items() if thread.is_alive()}
        return schedule.key not in self._threads and len(self._threads) < (os.cpu_count() or 1)

    def _begin(self, schedule: Schedule, due: datetime) -> None:
        claim = Claim(self._client, schedule.key, due, self._holder)
        if not claim.take():
            # Another runs it, or has; should it die, its lease ends and the next look finds it free.
            return
        thread = threading.Thread(target=self._run, args=(schedule, due, claim), name=f"report-{schedule.key}")
        thread.daemon = True
        self._threads[schedule.key] = thread
        thread.start()

    def _run(self, schedule: Schedule, due: datetime, claim: Claim) -> None:
        assert self._desk is not None
        try:
            meta = self._desk.run(
                schedule.name, schedule.params, who="scheduler", schedule=schedule.key,
                allow_replay=schedule.allow_replay, deliver=schedule.deliver, is_over=self._is_over.is_set,
                tick=lambda _: _keep(claim),
            )  # fmt: skip
        except (TekNavError, OSError) as error:
            self._not_run(schedule, due, claim, error_text(error))
            return
        except Exception:
            log.exception("report.broken", schedule=schedule.key)
            self._not_run(schedule, due, claim, "a fault of ours; the scheduler's log says more")
            return
        log.info("report.ended", schedule=schedule.key, run=meta.run, status=meta.status, seconds=meta.seconds)
        if self._is_over.is_set() and meta.status == "killed":
            _quietly(claim.give_back)
            return
        self._settled[schedule.key] = due
        self._say(claim.settle)
        if meta.has_told:
            self._say(lambda: self._comings.came(schedule.key))

    def _not_run(self, schedule: Schedule, due: datetime, claim: Claim, why: str) -> None:
        assert self._desk is not None
        log.error("report.not_run", schedule=schedule.key, error=why)
        if self._is_over.is_set():
            _quietly(claim.give_back)
        else:
            self._settled[schedule.key] = due
            self._desk.alerts.not_run(schedule.key, why)
            self._say(claim.settle)

    def _say(self, do: Callable[[], None]) -> None:
        """Again and again while Redis is away, until this process leaves: a claim that is not settled ends, and another
        would run the report a second time.
        """
        while not _quietly(do) and not self._is_over.wait(_AGAIN_SECONDS):
            pass

    def _look_for_missed(self, schedule: Schedule, since: datetime, now: datetime) -> None:
        """The last time that nobody took: no scheduler led, its forerunner still ran, or there was no room."""
        ended = now - GRACE
        span = min(ended - since, _MISSED)
        due = self._crons[schedule.key].last_before(ended, within=span) if span > timedelta(0) else None
        if due is None or due == self._settled.get(schedule.key):
            return
        if schedule.catch_up:
            if self._has_room(schedule):
                self._begin(schedule, due)
            return
        claim = Claim(self._client, schedule.key, due, self._holder)
        if claim.take():
            minutes = round(GRACE.total_seconds() / 60)
            self._not_run(
                schedule, due, claim, f"it was due at {due:%Y-%m-%d %H:%M} UTC and could not begin within {minutes} "
                "minutes; run it by hand, or let its schedule `catch_up`",
            )  # fmt: skip

    def _look_for_late(self, came: dict[str, datetime], now: datetime) -> None:
        if self._desk is None:
            return
        for key, since in came.items():
            period = self._crons[key].longest_period(now)
            if period is not None and now - since > _LATE_PERIODS * period:
                self._desk.alerts.late(key, since)


def _keep(claim: Claim) -> None:
    _quietly(claim.renew)


def _quietly(do: Callable[[], None]) -> bool:
    """False where Redis is away, as it may be while a report runs; the claim then ends by itself."""
    try:
        do()
    except OUTAGE_ERRORS as error:
        log.warning("report.claim", error=str(error))
        return False
    return True
