"""Fixtures for tests of the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from teknav_ops.redis_state.connection import Client, connect
from tests.support.cluster import one_node
from tests.support.state import State


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


@pytest.fixture
def cluster_client() -> Iterator[Client]:
    """A Cluster of one node that holds all slots."""
    with one_node() as server:
        client = connect(f"redis+cluster://127.0.0.1:{server.port}")
        yield client
        client.close()
