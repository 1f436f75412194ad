"""analytics:process: what readers did."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from teknav_ops.payloads.base import Payload


class ProcessEvents(Payload):
    """Take in readers' events and bring the daily figures up to date.

    `events` are loose on purpose: one that is malformed is set aside and the rest goes on. Rows that others wrote into
    AnalyticsEvent are taken along, `limit` at most.
    """

    events: Annotated[
        tuple[dict[str, Any], ...],
        Field(max_length=1_000, description="event_id, kind, occurred_at, visitor_id, session_id; more by kind."),
    ] = ()
    limit: Annotated[int, Field(ge=1, le=2_000_000, description="Most events to sort in.")] = 1_000_000
