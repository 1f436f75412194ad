"""The whole app behind its guard, with an OWNER and a VIEWER signed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from dashboards.app import add_pages
from dashboards.sockets import OwnPages
from teknav_ops.access.policy import Role
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from tests.conftest import SECRET_KEY
from tests.support.entry_points import EntryPoint, entry_points_of
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.web import Web, served, settings_for


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """Everything, with sara (OWNER) and vida (VIEWER)."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    settings = settings_for(folder, server.url, secret_key=SECRET_KEY, viewers_allowed=True)
    services = Services(settings)
    app = create_api(services, socket_checks=[OwnPages(settings)])
    add_pages(app, services)

    @app.get("/api/broken", include_in_schema=False)
    def broken() -> None:
        raise RuntimeError("secret words of a stack trace")

    with served(app) as running:
        running.add_user("sara")
        running.add_user("vida", Role.VIEWER)
        yield running
    server.stop()
    remove_folder(folder)


@pytest.fixture(scope="session")
def owner(web: Web) -> Iterator[httpx.Client]:
    with closing(web.sign_in("sara")) as browser:
        yield browser


@pytest.fixture(scope="session")
def viewer(web: Web) -> Iterator[httpx.Client]:
    with closing(web.sign_in("vida")) as browser:
        yield browser


@pytest.fixture(scope="session")
def entry_points(web: Web) -> list[EntryPoint]:
    found = entry_points_of(web.app)
    assert len([entry for entry in found if entry.method == "WS"]) >= 5
    assert {"GET", "POST", "DELETE"} <= {entry.method for entry in found}
    assert len(found) > 40
    return found
