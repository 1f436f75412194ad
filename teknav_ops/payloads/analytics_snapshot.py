"""analytics:snapshot: the platform's dashboard, computed in advance."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from teknav_ops.payloads.base import Payload


class SnapshotDashboard(Payload):
    """Compute the platform's dashboard and put it into Redis."""

    days: Annotated[int, Field(ge=1, le=90, description="Days to show, today included.")] = 30
    top: Annotated[int, Field(ge=1, le=100, description="Length of the top lists.")] = 20
