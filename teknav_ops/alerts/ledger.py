"""Alerts in SQL. What opens or resolves one, and the messages about it, are written in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from teknav_ops.alerts.notices import AlertState, Notice, by_rule, opened_notice, resolved_notice
from teknav_ops.alerts.rules import RULE_KINDS
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import Alert, AlertDelivery, AlertSilence
from teknav_ops.storage.tables.base import utc_now

log = structlog.get_logger("teknav.alerts")

#: How long resolved alerts, old messages and ended silences stay.
_KEPT: Final = timedelta(days=180)
_PRUNED_AT_ONCE: Final = 1_000


class Ledger:
    """Opens and resolves alerts. Every write may be repeated, by this process or another."""

    def __init__(self, database: Database, channel_names: Sequence[str], *, site_url: str | None) -> None:
        self._database = database
        self._channel_names = channel_names
        self._site_url = site_url

    def open_alerts(self) -> dict[str, AlertState]:
        """The open alerts of rules about queues. Raises StorageUnavailable."""
        with self._database.reading() as session:
            return {state.key: state for state in map(_state, _open_rows(session)) if state.kind in RULE_KINDS}

    def silences(self) -> list[tuple[str, str]]:
        """(rule, queue) pairs that are silenced; a queue '' stands for all."""
        now = self._database.now()
        with self._database.reading() as session:
            rows = session.execute(select(AlertSilence.rule, AlertSilence.queue).where(AlertSilence.until > now))
            return [(rule, queue) for rule, queue in rows]

    def write(self, opened: Sequence[AlertState], resolved: Mapping[str, str], at: datetime) -> None:
        """Open and resolve, in one transaction with the messages. What is open, or over, already is left alone.

        Channels that an alert was told through directly, while SQL was away, are not told again.
        """
        with self._database.session() as session:
            for group in by_rule(state for state in opened if _insert(session, state)):
                self._tell_opened(session, group, at)
            rows = {(row.rule, row.queue): row for row in _open_rows(session)}
            over = [(row, text) for row in rows.values() if (text := resolved.get(_state(row).key)) is not None]
            for group in by_rule(_state(row) for row, text in over if _resolve(session, row, text, at)):
                texts = [resolved[state.key] for state in group]
                notice = resolved_notice(group, texts, at=at, site_url=self._site_url)
                self._enqueue(session, notice, self._channel_names)

    def _tell_opened(self, session: Session, group: Sequence[AlertState], at: datetime) -> None:
        for channel in self._channel_names:
            untold = [state for state in group if channel not in state.told]
            if untold:
                self._enqueue(session, opened_notice(untold, at=at, site_url=self._site_url), [channel])
        for state in group:
            log.warning("alert.opened", rule=state.rule, queue=state.queue, severity=state.severity, text=state.message)

    def _enqueue(self, session: Session, notice: Notice, channels: Iterable[str]) -> None:
        # This host's clock, by which deliveries go; `at` is Redis's.
        now = utc_now()
        rows: list[dict[str, Any]] = [
            {
                "message_id": notice.message_id, "channel": channel, "event": notice.event, "rule": notice.rule,
                "notice": notice.model_dump(mode="json"), "attempt_count": 0, "next_attempt_at": now, "created_at": now,
            }
            for channel in channels
        ]  # fmt: skip
        if rows:
            session.execute(insert_into(session, AlertDelivery).on_conflict_do_nothing(), rows)


def prune(database: Database) -> bool:
    """Forget what is old, a bounded number at a time; True when there may be more."""
    until = utc_now() - _KEPT
    with database.session() as session:
        counts = [
            session.execute(
                delete(table).where(table.id.in_(select(table.id).where(condition).limit(_PRUNED_AT_ONCE)))
            ).rowcount  # type: ignore[attr-defined]
            for table, condition in (
                (Alert, Alert.resolved_at < until),
                (AlertDelivery, AlertDelivery.created_at < until),
                (AlertSilence, AlertSilence.until < until),
            )
        ]
    return _PRUNED_AT_ONCE in counts


def _open_rows(session: Session) -> Sequence[Alert]:
    return session.scalars(select(Alert).where(Alert.resolved_at.is_(None)).order_by(Alert.id)).all()


def _state(row: Alert) -> AlertState:
    return AlertState.model_validate(row, from_attributes=True)


def _insert(session: Session, state: AlertState) -> bool:
    """False when it was open already."""
    row = insert_into(session, Alert).values(**state.model_dump(include=set(Alert.__table__.columns.keys())))
    return session.scalar(row.on_conflict_do_nothing().returning(Alert.id)) is not None


def _resolve(session: Session, row: Alert, text: str, at: datetime) -> bool:
    """False when another has resolved it in between."""
    done = session.execute(
        update(Alert).where(Alert.id == row.id, Alert.resolved_at.is_(None)).values(resolved_at=at, resolution=text)
    )
    if done.rowcount != 1:  # type: ignore[attr-defined]
        return False
    log.info("alert.resolved", rule=row.rule, queue=row.queue, text=text)
    return True
