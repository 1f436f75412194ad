"""Fixtures for events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis

from teknav_ops.events.relay import EventRelay
from tests.support.topology import TOPOLOGY

MakeRelay = Callable[..., EventRelay]


@pytest.fixture
def make_relay(client: redis.Redis) -> MakeRelay:
    """A relay on the shared server, or on another client."""

    def make(on: Any = None, *, per_second: int = 20, kept: int = 10_000) -> EventRelay:
        return EventRelay(on or client, TOPOLOGY, events_per_second=per_second, events_kept=kept)

    return make


@pytest.fixture
def relay(make_relay: MakeRelay) -> EventRelay:
    """A relay that has begun: what happens from now on is told."""
    begun = make_relay()
    begun.step()
    return begun
