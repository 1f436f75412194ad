"""One served API on a server of its own for all the examples of a module, and an owner who may do everything."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from teknav_ops.access.policy import Operation
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from tests.conftest import SECRET_KEY
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.web import Web, served, settings_for


@pytest.fixture(scope="module")
def site() -> Iterator[Web]:
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    services = Services(settings_for(folder, server.url, secret_key=SECRET_KEY))
    services.background.start = lambda: None  # type: ignore[method-assign]
    with served(create_api(services)) as running:
        yield running
    server.stop()
    remove_folder(folder)


@pytest.fixture(scope="module")
def owner(site: Web) -> Iterator[httpx.Client]:
    with site.with_token(site.token(Operation.READ, Operation.ACT, Operation.ENQUEUE)) as client:
        yield client
