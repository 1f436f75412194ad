"""Reading alerts: which are open, which were, what could not be delivered, what is silenced."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, func, or_, select

from teknav_ops.alerts.conditions import condition_key
from teknav_ops.alerts.notices import AlertState, runbook_page
from teknav_ops.alerts.watch import WatchStore
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert, AlertDelivery, AlertSilence


@dataclasses.dataclass(frozen=True, slots=True)
class ListedAlert:
    """One alert; `resolved_at` and `resolution` are None while it is open.

    `value` and `message` are how it looks now, as of `measured_at`; `first_…` how it looked when it opened. Of one that
    is over, or whose scheduler cannot be asked, both are the first.
    """

    id: int
    rule: str
    kind: str
    severity: str
    queue: str
    since_at: datetime
    opened_at: datetime
    resolved_at: datetime | None
    value: float | None
    unit: str
    message: str
    resolution: str | None
    first_value: float | None
    first_message: str
    measured_at: datetime | None = None

    @property
    def runbook(self) -> str:
        """The page to open."""
        return runbook_page(self.kind)


@dataclasses.dataclass(frozen=True, slots=True)
class UndeliveredMessage:
    """A message that a channel has not taken. `given_up_at` is None while it is still tried."""

    channel: str
    event: str
    rule: str
    attempt_count: int
    next_attempt_at: datetime
    given_up_at: datetime | None
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class ListedSilence:
    """A silence in force; queue '' stands for all."""

    rule: str
    queue: str
    until: datetime
    reason: str
    created_by: str


class AlertQueries:
    """Everything that is asked of alerts. Nothing here writes; everything raises StorageUnavailable."""

    def __init__(self, database: Database, client: Client | None = None) -> None:
        """With a client, open alerts are told with their present numbers."""
        self._database = database
        self._client = client

    def open(self) -> list[ListedAlert]:
        """Open alerts, pages first, oldest first."""
        found = self._alerts(select(Alert).where(Alert.resolved_at.is_(None)).order_by(Alert.severity, Alert.id))
        current = self._current() if found else {}
        return [_as_now(alert, current.get(condition_key(alert.rule, alert.queue))) for alert in found]

    def _current(self) -> dict[str, AlertState]:
        try:
            return {} if self._client is None else WatchStore(self._client).open_alerts()
        except OUTAGE_ERRORS:
            return {}  # An alert may be about just that; what SQL knows of it is told.

    def open_count(self) -> int:
        """How many alerts are open."""
        with self._database.reading() as session:
            return session.scalar(select(func.count()).select_from(Alert).where(Alert.resolved_at.is_(None))) or 0

    def recent(self, *, limit: int = 20, before_id: int | None = None) -> list[ListedAlert]:
        """Resolved alerts, the latest to open first; those that opened before one."""
        over = select(Alert).where(Alert.resolved_at.is_not(None))
        over = over if before_id is None else over.where(Alert.id < before_id)
        return self._alerts(over.order_by(Alert.id.desc()).limit(limit))

    def in_window(
        self, since: datetime, until: datetime, *, queues: Sequence[str] | None = None, limit: int = 500
    ) -> list[ListedAlert]:
        """Alerts that were open at some moment from `since` to `until`, of these queues or all, the latest first."""
        touched = select(Alert).where(
            Alert.opened_at < until, or_(Alert.resolved_at.is_(None), Alert.resolved_at >= since)
        )  # fmt: skip
        touched = touched if queues is None else touched.where(Alert.queue.in_(queues))
        return self._alerts(touched.order_by(Alert.opened_at.desc(), Alert.id.desc()).limit(limit))

    def undelivered(self, *, limit: int = 50) -> list[UndeliveredMessage]:
        """Messages that no channel has taken yet, or ever, newest first."""
        missing = select(AlertDelivery).where(AlertDelivery.sent_at.is_(None))
        with self._database.reading() as session:
            return [
                UndeliveredMessage(
                    **{field.name: getattr(row, field.name) for field in dataclasses.fields(UndeliveredMessage)}
                )
                for row in session.scalars(missing.order_by(AlertDelivery.id.desc()).limit(limit))
            ]

    def silences(self) -> list[ListedSilence]:
        """Silences in force, the first to end first."""
        now = self._database.now()
        with self._database.reading() as session:
            rows = session.scalars(select(AlertSilence).where(AlertSilence.until > now).order_by(AlertSilence.until))
            return [
                ListedSilence(row.rule, row.queue, row.until, row.reason, row.created_by) for row in rows
            ]  # fmt: skip

    def _alerts(self, wanted: Select[Alert]) -> list[ListedAlert]:
        names = [field.name for field in dataclasses.fields(ListedAlert) if hasattr(Alert, field.name)]
        with self._database.reading() as session:
            return [
                ListedAlert(
                    **{name: getattr(row, name) for name in names}, first_value=row.value, first_message=row.message
                )
                for row in session.scalars(wanted)
            ]


def _as_now(alert: ListedAlert, state: AlertState | None) -> ListedAlert:
    if state is None or state.current_message is None or state.opened_at != alert.opened_at:
        return alert
    return dataclasses.replace(
        alert, value=state.current_value, message=state.current_message, measured_at=state.current_at
    )
