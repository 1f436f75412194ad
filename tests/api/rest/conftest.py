"""A served API on the small topology, one server per module, and clients of each role."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import redis

from teknav_ops.access.policy import Operation, Role
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.audit.writer import AuditWriter
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.state import State
from tests.support.topology import TOPOLOGY
from tests.support.web import Web, served, settings_for


@pytest.fixture(scope="session")
def site_server() -> Iterator[RedisServer]:
    """A server for these tests only: the served app outlives each of them."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    yield server
    server.stop()
    remove_folder(folder)


@pytest.fixture
def redis_server(site_server: RedisServer) -> RedisServer:
    """The site's own server, emptied."""
    with site_server.client() as client:
        client.flushall()
    return site_server


@pytest.fixture(scope="module")
def site(site_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    """One server for a module's tests."""
    settings = settings_for(tmp_path_factory.mktemp("site"), site_server.url, viewers_allowed=True)
    with served(create_api(Services(settings, TOPOLOGY))) as running:
        yield running


@pytest.fixture(scope="module")
def tokens(site: Web) -> dict[str, str]:
    """A token of each kind."""
    everything = (Operation.READ, Operation.ACT, Operation.ENQUEUE, Operation.METRICS)
    return {
        "owner": site.token(*everything, name="owner"),
        "viewer": site.token(Operation.READ, role=Role.VIEWER, name="viewer"),
        "producer": site.token(Operation.ENQUEUE, name="producer"),
    }


@pytest.fixture
def owner(site: Web, tokens: dict[str, str], redis_server: RedisServer) -> Iterator[httpx.Client]:
    """Someone who may do all, on an empty Redis."""
    with site.with_token(tokens["owner"]) as client:
        yield client


@pytest.fixture
def viewer(site: Web, tokens: dict[str, str], redis_server: RedisServer) -> Iterator[httpx.Client]:
    """Someone who may read, payloads masked."""
    with site.with_token(tokens["viewer"]) as client:
        yield client


@pytest.fixture
def producer_client(site: Web, tokens: dict[str, str], redis_server: RedisServer) -> Iterator[httpx.Client]:
    """A program that may enqueue and nothing else."""
    with site.with_token(tokens["producer"]) as client:
        yield client


@pytest.fixture
def state(client: redis.Redis) -> State:
    """Jobs brought into states by the scripts themselves."""
    return State(client)


@pytest.fixture
def move_audit(site: Web) -> AuditWriter:
    """The scheduler's part: entries into AuditLog."""
    return AuditWriter(site.services.client, site.services.database, TOPOLOGY)
