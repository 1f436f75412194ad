"""Events for webhooks: published once, delivered to each endpoint that asked for their type.

published = publish_event(producer, database, "article.published", {"article_id": 7})
published.event_id, published.deliveries
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import select

from teknav_ops.errors import InvalidPayload, InvalidRequest
from teknav_ops.payloads import codec
from teknav_ops.payloads.webhooks_deliver import DeliverWebhook
from teknav_ops.producer import Producer
from teknav_ops.redis_state.scripts import Accepted
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WebhookEndpoint

_QUEUE: Final = "webhooks:deliver"
_JOB: Final = "deliver-webhook"


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event and its deliveries, by the name of the endpoint; there are none where nobody asked for its type."""

    event_id: str
    deliveries: Mapping[str, Accepted]


def publish_event(
    producer: Producer,
    database: Database,
    event_type: str,
    data: Mapping[str, Any],
    *,
    event_id: str | None = None,
    occurred_at: datetime | None = None,
) -> PublishedEvent:
    """Enqueue a delivery for each enabled endpoint that takes this type of event.

    Published again under the same `event_id`, within 24 hours and with the same `occurred_at` and data, an endpoint
    gets no second delivery: whoever died half way, or was not answered, publishes again. Both are chosen here unless
    given.

    Raises:
        InvalidRequest: `event_id` was given without `occurred_at`: it would be another event each time.
        InvalidPayload, PayloadTooLarge: type, id or data cannot be sent. Nothing was written.
        IdempotencyConflict: the id was used for another event. Nothing was written, unless that was at this moment.
        StorageUnavailable: nothing was written.
        RedisUnavailable: what was written stays; publish again.
    """
    if event_id is not None and occurred_at is None:
        raise InvalidRequest("occurred_at: give it together with event_id, or the same event differs each time")
    if not isinstance(data, Mapping):
        problem = f"must be a mapping of names to values, not {type(data).__name__}"
        raise InvalidPayload(f"event: data: {problem}", [("data", problem)])
    event = {
        "event_id": f"evt_{secrets.token_hex(12)}" if event_id is None else event_id,
        "event_type": event_type,
        "data": dict(data),
        "occurred_at": datetime.now(UTC) if occurred_at is None else occurred_at,
    }
    # Also where nobody takes it: a wrong event is not found only when the first partner asks for it.
    codec.validate(DeliverWebhook, {"endpoint_id": 1, **event}, where="event")
    takers = _takers(database, event_type)
    accepted = producer.enqueue_many(
        _QUEUE,
        _JOB,
        [{"endpoint_id": row_id, **event} for row_id, _ in takers],
        idempotency_keys=[f"{event['event_id']} to {row_id}" for row_id, _ in takers],
        all_or_none=True,
    )
    deliveries = {name: job for (_, name), job in zip(takers, accepted, strict=True)}
    return PublishedEvent(str(event["event_id"]), deliveries)


def takes(event_types: list[str], event_type: str) -> bool:
    """Whether an endpoint that asked for these types takes that one; to ask for none is to ask for all."""
    return not event_types or event_type in event_types


def _takers(database: Database, event_type: str) -> list[tuple[int, str]]:
    with database.reading() as session:
        enabled = select(WebhookEndpoint).where(WebhookEndpoint.status == "enabled").order_by(WebhookEndpoint.id)
        return [(row.id, row.name) for row in session.scalars(enabled) if takes(row.event_types, event_type)]
