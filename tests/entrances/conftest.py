"""The whole web app, served once, with prepared data and everybody who may ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from dashboards.app import add_pages
from dashboards.sockets import OwnPages
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from tests.conftest import SECRET_KEY
from tests.entrances.callers import NAMES, Caller, Callers
from tests.entrances.prepared import PreparedData
from tests.support.entry_points import EntryPoint, entry_points_of
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.web import Web, served, settings_for


@pytest.fixture(scope="session")
def web() -> Iterator[Web]:
    """Pages, REST, sockets and streams. Batch replays are started but not run: what they do is not asked here."""
    folder = new_folder()
    # Small keys are laid out in the order of writing, so that two copies of one are the same.
    flat = [part for kind in ("hash", "zset") for part in (f"--{kind}-max-listpack-value", "100000")]
    server = RedisServer(folder, "--appendonly", "no", *flat).start()
    settings = settings_for(folder, server.url, secret_key=SECRET_KEY, viewers_allowed=True)
    services = Services(settings)
    services.background.start = lambda: None  # type: ignore[method-assign]
    app = create_api(services, socket_checks=[OwnPages(settings)])
    add_pages(app, services)
    # A description of the API takes seconds to make, and tells nothing of who may do what.
    app.openapi_schema = {"openapi": "3.1.0"}
    with served(app) as running:
        yield running
        app.state.feed.stop()
    server.stop()
    remove_folder(folder)


@pytest.fixture(scope="session")
def callers(web: Web) -> Callers:
    return Callers(web)


@pytest.fixture(scope="session")
def prepared(web: Web, callers: Callers) -> PreparedData:
    """The data; in Redis it stands as it was made at the beginning of each test."""
    return PreparedData(web.services)


@pytest.fixture(autouse=True)
def _stands_as_it_was_made(prepared: PreparedData) -> Iterator[None]:
    """Made before the first test that may change something, and put back after each."""
    yield
    prepared.reset()


@pytest.fixture(params=NAMES)
def caller(request: pytest.FixtureRequest, callers: Callers) -> Caller:
    return callers[request.param]


@pytest.fixture(scope="session")
def entry_points(web: Web, prepared: PreparedData) -> list[EntryPoint]:
    found = entry_points_of(web.app, prepared.path_values)
    assert len(found) > 80
    return found


@pytest.fixture(scope="session")
def client(web: Web) -> Iterator[httpx.Client]:
    """Carries nothing of its own: each caller brings its headers."""
    with httpx.Client(base_url=web.url, timeout=20) as opened:
        yield opened
