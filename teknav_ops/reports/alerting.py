"""Alerts about reports: one that failed, breached a limit, or has not come for long. Over when it comes again.

They stand beside the alerts of the job system's rules, and go through the same channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import structlog

from teknav_ops.alerts.channels import Channel, ChannelFailed, open_channels
from teknav_ops.alerts.ledger import Ledger
from teknav_ops.alerts.notices import AlertState, opened_notice
from teknav_ops.errors import StorageUnavailable
from teknav_ops.reports.runs import RunMeta
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.reports")

FAILED: Final = "report_failed"
LIMIT: Final = "report_limit"
LATE: Final = "report_late"
#: Names by which they are silenced, for all reports.
RULES: Final = frozenset(kind.replace("_", "-") for kind in (FAILED, LIMIT, LATE))


class ReportAlerts:
    """Opens and resolves. An alert that is open already is not told again."""

    def __init__(self, database: Database, channels: Sequence[Channel], *, site_url: str | None) -> None:
        self._channels = channels
        self._site_url = site_url
        self._ledger = Ledger(database, [channel.name for channel in channels], site_url=site_url)
        #: Told while SQL was away, and not over since.
        self._told_directly: set[str] = set()

    @classmethod
    def from_settings(cls, settings: Settings, database: Database) -> ReportAlerts:
        """With the channels of the other alerts. Raises InvalidRequest."""
        return cls(database, open_channels(settings), site_url=settings.alert_site_url or settings.web_public_url)

    def tell(self, meta: RunMeta) -> None:
        """What a run's end means."""
        subject = meta.schedule or meta.name
        said = f"{meta.name}: {meta.error or meta.status} (run {meta.run})"
        if meta.status == "ok":
            came = f"{meta.name} came at {meta.ended_at:%Y-%m-%d %H:%M} UTC"
            self._write([], {_key(kind, subject): came for kind in (FAILED, LIMIT, LATE)})
        elif meta.status == "limit":
            over = {_key(kind, subject): "it ran to its end" for kind in (FAILED, LATE)}
            self._write([_state(LIMIT, subject, said, meta.started_at)], over)
        else:
            self._write([_state(FAILED, subject, said, meta.started_at)], {})

    def not_run(self, subject: str, why: str) -> None:
        """That a scheduled report could not even begin."""
        self._write([_state(FAILED, subject, f"{subject}: was not run: {why}", datetime.now(UTC))], {})

    def late(self, subject: str, since: datetime) -> None:
        """That a scheduled report has not come since then."""
        message = f"{subject}: has not come since {since:%Y-%m-%d %H:%M} UTC, which is twice its period"
        self._write([_state(LATE, subject, message, since)], {})

    def _write(self, opened: Sequence[AlertState], over: Mapping[str, str]) -> None:
        """A report must be able to say that it failed while SQL is away: then it is told directly."""
        now = datetime.now(UTC)
        try:
            silenced = self._ledger.silences() if opened else []
            loud = [state for state in opened if not {(state.rule, state.queue), (state.rule, "")} & set(silenced)]
            self._ledger.write(loud, over, now)
            self._told_directly.clear()
        except StorageUnavailable as error:
            log.warning("report.alert_not_recorded", error=str(error))
            self._told_directly -= over.keys()
            self._tell_directly([state for state in opened if _key_of(state) not in self._told_directly], now)

    def _tell_directly(self, opened: Sequence[AlertState], now: datetime) -> None:
        """What no channel took is told the next time."""
        taken = [self._is_sent(channel, opened, now) for channel in self._channels] if opened else []
        if any(taken):
            self._told_directly |= {_key_of(state) for state in opened}

    def _is_sent(self, channel: Channel, opened: Sequence[AlertState], now: datetime) -> bool:
        try:
            channel.send(opened_notice(opened, at=now, site_url=self._site_url))
        except ChannelFailed as error:
            log.warning("alert.not_sent", channel=channel.name, rule=opened[0].rule, error=str(error))
            return False
        return True


def _rule(kind: str) -> str:
    return kind.replace("_", "-")


def _key(kind: str, subject: str) -> str:
    return f"{_rule(kind)}|{subject}"


def _key_of(state: AlertState) -> str:
    return f"{state.rule}|{state.queue}"


def _state(kind: str, subject: str, message: str, since: datetime) -> AlertState:
    return AlertState(
        rule=_rule(kind), kind=kind, severity="ticket", queue=subject, since_at=since, opened_at=datetime.now(UTC),
        value=None, unit="", message=message,
    )  # fmt: skip
