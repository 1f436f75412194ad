"""webhooks:deliver: events for other people's servers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, Field

from teknav_ops.payloads.base import Payload


class DeliverWebhook(Payload):
    """Deliver an event to a webhook endpoint."""

    endpoint_id: Annotated[int, Field(ge=1, description="Row of the WebhookEndpoint table.")]
    event_id: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_.-]{1,100}$", description="The same for all endpoints and all attempts.")
    ]
    event_type: Annotated[str, Field(pattern=r"^[a-z0-9_]+(\.[a-z0-9_]+)*$", max_length=100)]
    occurred_at: Annotated[AwareDatetime, Field(description="When it happened, with its time zone.")]
    data: dict[str, Any] = Field(default_factory=dict)
