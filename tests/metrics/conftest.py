"""Fixtures for tests of the numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from teknav_ops.redis_state.connection import Client, connect
from tests.support.cluster import is_whole
from tests.support.redis_server import RedisServer, free_port, new_folder, remove_folder
from tests.support.state import State
from tests.support.waiting import until


@pytest.fixture
def state(client: redis.Redis) -> State:
    return State(client)


@pytest.fixture
def cluster_client() -> Iterator[Client]:
    """A Cluster of one node that holds all slots."""
    folder = new_folder()
    # By default the bus is 10,000 above the port, which may be no port at all.
    server = RedisServer(folder, "--cluster-enabled", "yes", "--cluster-port", str(free_port())).start()
    with server.client() as node:
        node.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
        until(lambda: is_whole(node), what="a whole Cluster")
    client = connect(f"redis+cluster://127.0.0.1:{server.port}")
    yield client
    client.close()
    server.stop()
    remove_folder(folder)
