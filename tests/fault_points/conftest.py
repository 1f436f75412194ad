"""Fixtures of the fault points: a proxy before the server, the product's client on it, a clock that stands still."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client, connect
from tests.fault_points.cases import Play
from tests.support.redis_server import RedisServer
from tests.support.script_list import typed_scripts
from tests.support.tcp_proxy import FaultProxy
from tests.support.virtual_time import Clock
from tests.support.waiting import ANSWER_SECONDS


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[FaultProxy]:
    with FaultProxy(redis_server.url) as listening:
        yield listening


@pytest.fixture
def state(clock: Clock, client: redis.Redis) -> Play:
    """An empty queue; the server knows all scripts, so that a call is one command."""
    with client.pipeline(transaction=False) as pipeline:
        for name in typed_scripts():
            pipeline.script_load(scripts.load(name).source)
        pipeline.execute()
    return Play(client)


@pytest.fixture
def lossy(proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """The product's own client, with its retries, by way of the proxy. Its pauses between tries are left out."""
    monkeypatch.setattr("redis.retry.sleep", lambda seconds: None)
    # Only what the proxy drops is lost, however slow the machine is.
    connected = connect(proxy.url, timeout_seconds=ANSWER_SECONDS)
    yield connected
    connected.close()
