"""The outbox of alerts: each message goes to each channel, again and again until it is taken or given up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import exists, select, update
from sqlalchemy.orm import aliased

from teknav_ops.alerts.channels import Channel, ChannelFailed
from teknav_ops.alerts.notices import Notice
from teknav_ops.payloads.redaction import error_text, redact
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AlertDelivery
from teknav_ops.storage.tables.base import utc_now

log = structlog.get_logger("teknav.alerts")

DELIVER_SECONDS: Final = 3.0
_BATCH_LIMIT: Final = 50
_FIRST_PAUSE: Final = timedelta(seconds=30)
_LONGEST_PAUSE: Final = timedelta(minutes=15)
_GIVE_UP_AFTER: Final = timedelta(hours=24)


class Deliveries:
    """Sends what is due. A message that was sent when the process died is sent again, with the same id."""

    def __init__(self, database: Database, channels: Sequence[Channel]) -> None:
        self._database = database
        self._channels = {channel.name: channel for channel in channels}

    def step(self) -> bool:
        """The scheduler's duty. True when something was sent, so there may be more. Raises StorageUnavailable."""
        failed: set[str] = set()
        has_sent = False
        for delivery in self._due(utc_now()):
            # One that does not answer must not hold the others up, nor cost its time for every message.
            if delivery.channel not in failed and self._claim(delivery):
                is_sent = self._send(delivery)
                has_sent |= is_sent
                failed |= set() if is_sent else {delivery.channel}
        return has_sent

    def _due(self, now: datetime) -> Sequence[AlertDelivery]:
        if not self._channels:
            return []
        earlier = aliased(AlertDelivery)
        # That an alert is over is told after it was told that it began.
        is_kept_back = exists().where(
            earlier.channel == AlertDelivery.channel, earlier.rule == AlertDelivery.rule,
            earlier.id < AlertDelivery.id, earlier.sent_at.is_(None), earlier.given_up_at.is_(None),
        )  # fmt: skip
        due = (
            select(AlertDelivery)
            .where(AlertDelivery.sent_at.is_(None), AlertDelivery.given_up_at.is_(None))
            .where(AlertDelivery.next_attempt_at <= now, AlertDelivery.channel.in_(self._channels), ~is_kept_back)
            .order_by(AlertDelivery.id)
            .limit(_BATCH_LIMIT)
        )
        with self._database.reading() as session:
            return session.scalars(due).all()

    def _claim(self, delivery: AlertDelivery) -> bool:
        """Count the attempt and set the time of the next before this one begins; False when another was quicker."""
        pause = min(_FIRST_PAUSE * 2**delivery.attempt_count, _LONGEST_PAUSE)
        with self._database.session() as session:
            claimed = session.execute(
                update(AlertDelivery)
                .where(AlertDelivery.id == delivery.id, AlertDelivery.attempt_count == delivery.attempt_count)
                .where(AlertDelivery.sent_at.is_(None))
                .values(attempt_count=delivery.attempt_count + 1, next_attempt_at=utc_now() + pause)
            )
        return bool(claimed.rowcount == 1)  # type: ignore[attr-defined]

    def _send(self, delivery: AlertDelivery) -> bool:
        try:
            answer = self._channels[delivery.channel].send(Notice.model_validate(delivery.notice))
        except ChannelFailed as error:
            self._note_failure(delivery, error_text(error))
            return False
        self._note(delivery, sent_at=utc_now(), answer=redact(answer)[:500], error=None)
        log.info("alert.sent", channel=delivery.channel, event_kind=delivery.event, rule=delivery.rule)
        return True

    def _note_failure(self, delivery: AlertDelivery, error: str) -> None:
        is_late = utc_now() - delivery.created_at > _GIVE_UP_AFTER
        self._note(delivery, error=error[:1_000], given_up_at=utc_now() if is_late else None)
        log.warning(
            "alert.given_up" if is_late else "alert.not_sent",
            channel=delivery.channel, rule=delivery.rule, error=error, attempt=delivery.attempt_count + 1,
        )  # fmt: skip

    def _note(self, delivery: AlertDelivery, **facts: object) -> None:
        with self._database.session() as session:
            session.execute(update(AlertDelivery).where(AlertDelivery.id == delivery.id).values(**facts))
