"""The API behind its guard, on a real server with a real port."""

from __future__ import annotations

import contextlib
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from teknav_ops.access.policy import Operation, Operator, Role
from teknav_ops.api.app import create_api
from teknav_ops.api.services import Services
from teknav_ops.runtime.web import largest_message_bytes
from teknav_ops.settings import Settings
from tests.support.databases import migrate
from tests.support.ports import free_port
from tests.support.waiting import ANSWER_SECONDS, until

PASSWORD = "correct horse battery"
ROOT = Operator("root", Role.OWNER)
#: Tests speak plain HTTP; a client of its own would read all certificates of the machine, each time it is made.
PLAIN_HTTP = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
TRUSTED_PROXY = '["127.0.0.0/8"]'


class Web:
    """A served app, and browsers to visit it with, which are closed with it. Requests come from 127.0.0.1, which is
    trusted to say otherwise.
    """

    def __init__(self, app: FastAPI, port: int) -> None:
        self.app = app
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._clients = contextlib.ExitStack()

    def close(self) -> None:
        """Close all clients that were handed out."""
        self._clients.close()

    @property
    def services(self) -> Services:
        services: Services = self.app.state.services
        return services

    def browser(self, **options: Any) -> httpx.Client:
        """A client with cookies of its own that follows nothing."""
        return self._client({"accept": "text/html"}, **options)

    def add_user(self, name: str = "sara", role: Role = Role.OWNER, password: str = PASSWORD) -> None:
        self.services.entrance.users.add(ROOT, name, role, password)

    def sign_in(self, name: str = "sara", password: str = PASSWORD, **options: Any) -> httpx.Client:
        """A browser that has signed in."""
        browser = self.browser(**options)
        answer = browser.post("/sign-in", data={"name": name, "password": password})
        assert answer.status_code == 303, answer.text
        return browser

    def csrf(self, browser: httpx.Client) -> str:
        """The token that pages of this browser's session would carry."""
        identity = self.services.entrance.by_cookie(browser.cookies["teknav_session"], is_use=False)
        assert identity is not None and identity.csrf_token
        return identity.csrf_token

    def token(self, *scopes: Operation, role: Role = Role.OWNER, name: str = "ci") -> str:
        secret, _ = self.services.entrance.tokens.create(ROOT, name, role=role, scopes=scopes, life=None)
        return secret

    def with_token(self, secret: str) -> httpx.Client:
        return self._client({"authorization": f"Bearer {secret}"})

    def _client(self, headers: dict[str, str], **options: Any) -> httpx.Client:
        made = httpx.Client(
            base_url=self.url, timeout=ANSWER_SECONDS, headers=headers, verify=PLAIN_HTTP, **options
        )  # fmt: skip
        self._clients.callback(made.close)
        return made


def settings_for(folder: Path, redis_url: str, **changes: Any) -> Settings:
    """Settings as an environment would give them, on an empty migrated SQLite database."""
    values = {"data_dir": folder, "redis_url": redis_url, "trusted_proxies": ("127.0.0.0/8",), **changes}
    settings = Settings(**values)
    migrate(settings.sql_url)
    return settings


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[Web]:
    """Serve the app as `teknav serve` does, in a thread."""
    port = free_port()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", proxy_headers=False, server_header=False, lifespan="on",
        timeout_graceful_shutdown=2, ws_max_size=largest_message_bytes(app.state.services.settings),
    )  # fmt: skip
    server = uvicorn.Server(config)
    # With the event loop that `teknav serve` gets: uvloop where it is installed.
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until(lambda: server.started or not thread.is_alive(), what="the web server's start")
    assert server.started
    web = Web(app, port)
    try:
        yield web
    finally:
        web.close()
        server.should_exit = True
        thread.join(20)


def api(settings: Settings, **options: Any) -> FastAPI:
    return create_api(Services(settings), **options)


def field(page: str, name: str) -> str:
    """The value of a form's field."""
    found = re.search(rf'name="{name}"[^>]*value="([^"]*)"', page)
    assert found, page
    return found[1]


def every_page(client: httpx.Client, path: str, **params: Any) -> Iterator[dict[str, Any]]:
    """A list's pages to its end, as a client reads them."""
    page = client.get(path, params=params).json()
    yield page
    while page["next_cursor"] is not None:
        page = client.get(path, params={**params, "cursor": page["next_cursor"]}).json()
        yield page
