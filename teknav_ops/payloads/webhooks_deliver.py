"""webhooks:deliver: events for other people's servers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from teknav_ops.payloads.base import PastMoment, Payload, row_id


class DeliverWebhook(Payload):
    """Deliver an event to a webhook endpoint."""

    endpoint_id: Annotated[int, row_id("Row of the WebhookEndpoint table.")]
    event_id: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="The same for all endpoints and all attempts.")
    ]
    event_type: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)]
    occurred_at: Annotated[PastMoment, Field(description="When it happened, with its time zone.")]
    data: dict[str, Any] = Field(default_factory=dict)
