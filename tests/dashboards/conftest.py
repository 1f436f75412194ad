"""A system with web and scheduler, and visitors to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from teknav_ops.access.policy import Role
from tests.conftest import SECRET_KEY
from tests.support.browser import Visitor, chromium
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.system import System
from tests.support.web import PASSWORD

# Two cores, and other tests beside this one.
expect.set_options(timeout=45_000)

Visit = Callable[..., Visitor]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """Web and scheduler on a server of this module's own; sara is an OWNER, vida a VIEWER."""
    folder: Path = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    built = System(folder, server, SECRET_KEY, viewers_allowed=True)
    built.add_user("sara")
    built.add_user("علی")
    built.add_user("vida", Role.VIEWER)
    built.start_scheduler()
    built.start_web()
    yield built
    built.close()
    server.stop()
    remove_folder(folder)


@pytest.fixture
def visit(system: System, browser: Browser) -> Iterator[Visit]:
    """Opens a signed-in browser window; at the end, nothing may have gone wrong in any."""
    visitors: list[Visitor] = []

    def enter(name: str = "sara", **options: Any) -> Visitor:
        visitor = Visitor(browser, system.url, **options)
        visitor.sign_in(name, PASSWORD)
        visitors.append(visitor)
        return visitor

    yield enter
    troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
    for visitor in visitors:
        visitor.close()
    assert troubles == []
