"""Fixtures for script tests."""

from __future__ import annotations

import pytest
import redis

from tests.support.state import State


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)
