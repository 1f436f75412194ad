"""One running system for all pages, and the browser windows that look at it.

Tests share the system, in any order: each keeps to a queue of its own, or empties its queue when it begins
(`jobs.failed_jobs`). What kills a server has a system of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext

from teknav_ops.access.policy import Role
from tests.conftest import SECRET_KEY
from tests.support.browser import Visitor, lasting_context, shared_chromium
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.system import System

Visit = Callable[..., Visitor]

#: Who may look, and as what. The second owner's name is not written in Latin letters.
ROLES = {"owner": Role.OWNER, "علی": Role.OWNER, "viewer": Role.VIEWER}


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """Web and scheduler, on a Redis server of their own; nobody stops them."""
    with _new_system() as built:
        built.start_scheduler()
        built.start_web()
        yield built


@pytest.fixture
def own_system() -> Iterator[System]:
    """A web server alone that the test may kill."""
    with _new_system() as built:
        built.start_web()
        yield built


@pytest.fixture
def browser() -> Iterator[Browser]:
    with shared_chromium() as opened:
        yield opened


@pytest.fixture(scope="session")
def _contexts() -> dict[str, BrowserContext]:
    """The browsers of those who have signed in. They keep the pages' code, as browsers do; windows end with a test."""
    return {}


@pytest.fixture
def visit(system: System, browser: Browser, _contexts: dict[str, BrowserContext]) -> Iterator[Visit]:
    """Opens a window of somebody who is signed in; at the end, nothing may have gone wrong in any.

    With options (`color_scheme`, …), or of another system, it is a browser of its own.
    """
    visitors: list[Visitor] = []

    def enter(name: str = "owner", *, at: System = system, **options: Any) -> Visitor:
        is_shared = at is system and not options
        context = _contexts.get(name) if is_shared else None
        is_new = context is None
        if is_shared and is_new and name == "owner":
            # Most windows are the owner's.
            context = lasting_context()
        visitor = Visitor(browser, at.url, context=context, **options)
        visitors.append(visitor)
        if is_new:
            visitor.add_cookies(at.sign_in(name, ROLES[name]))
        if is_shared and is_new:
            _contexts[name] = visitor.share_context()
        return visitor

    yield enter
    troubles = [trouble for visitor in visitors for trouble in visitor.troubles]
    for visitor in visitors:
        visitor.close()
    assert troubles == []


@contextmanager
def _new_system() -> Iterator[System]:
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no").start()
    built = System(folder, server, SECRET_KEY, viewers_allowed=True)
    try:
        yield built
    finally:
        built.close()
        server.stop()
        remove_folder(folder)
