"""Fixtures of the API's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer
from tests.support.web import Web, api, served, settings_for


@pytest.fixture
def web(redis_server: RedisServer, tmp_path: Path) -> Iterator[Web]:
    """The API on an empty database."""
    with served(api(settings_for(tmp_path, redis_server.url))) as running:
        yield running
