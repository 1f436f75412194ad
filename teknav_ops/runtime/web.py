"""The web process: uvicorn with the dashboard's app."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
import sys
from collections.abc import Callable
from typing import Final

import structlog

from teknav_ops.access.links import Links
from teknav_ops.access.sign_on_roles import patterns_without_queue
from teknav_ops.errors import InvalidRequest
from teknav_ops.logs import configure_logs
from teknav_ops.private_files import keep_files_private
from teknav_ops.runtime.settings_at_start import settings_at_start
from teknav_ops.settings import Settings
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.web")

#: By name: the library does not import the dashboard.
_APP: Final = "dashboards.app:create_app"
#: How long open pages and event streams may keep the process from ending.
_LEAVE_SECONDS: Final = 3
_BACKLOG: Final = 512


def serve_web(settings: Settings, *, on_ready: Callable[[str], None] | None = None) -> None:
    """Serve until SIGINT or SIGTERM. `on_ready` gets the address once the port is ours.

    Raises:
        InvalidRequest: the port is taken, or the web extra is missing.
    """
    if not has_web():
        raise InvalidRequest("the dashboard needs the web extra: pip install teknav-ops[web]")
    import uvicorn

    configure_logs(settings)
    for words in patterns_without_queue(settings, TOPOLOGY):
        log.warning("settings.grants_nothing", problem=words)
    with listen(settings.web_address) as listening:
        if on_ready is not None:
            on_ready(settings.web_public_url or f"http://{shown_address(settings.web_address, listening)}")
        config = uvicorn.Config(
            _APP, factory=True, proxy_headers=False, server_header=False, access_log=False, log_config=None,
            timeout_graceful_shutdown=_LEAVE_SECONDS, timeout_keep_alive=75, h11_max_incomplete_event_size=64 * 1024,
            ws_max_size=largest_message_bytes(settings),
        )  # fmt: skip
        # uvicorn ends in good order, and then raises the signal once more.
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


def largest_message_bytes(settings: Settings) -> int:
    """The largest message that a socket takes: a page sends payloads, and little besides."""
    return 4 * settings.payload_limit_bytes


def has_web() -> bool:
    """Whether the web extra is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("fastapi", "panel", "uvicorn", "argon2"))


def listen(address: str) -> socket.socket:
    """A listening socket. Raises InvalidRequest when the address is taken or is not this machine's."""
    host, _, port = address.rpartition(":")
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        return socket.create_server((bare, int(port)), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        raise InvalidRequest(f"web_address: cannot listen on {address}: {error}; choose another with --port") from None


def free_address(address: str, tries: int = 20) -> str:
    """The address, or the next port of it that nobody listens on."""
    host, _, port = address.rpartition(":")
    for candidate in range(int(port), min(int(port) + tries, 65_536)):
        try:
            listen(f"{host}:{candidate}").close()
        except InvalidRequest:
            continue
        return f"{host}:{candidate}"
    raise InvalidRequest(f"web_address: no port from {port} on is free; set TEKNAV_WEB_ADDRESS")


def shown_address(address: str, listening: socket.socket) -> str:
    """What to type into a browser on this machine."""
    host = address.rpartition(":")[0]
    name = "127.0.0.1" if host in ("0.0.0.0", "[::]") else host
    return f"{name}:{listening.getsockname()[1]}"


def first_owner_url(links: Links, url: str) -> str | None:
    """A one-time link for the first owner; None when there are users."""
    secret = links.for_first_owner()
    return None if secret is None else f"{url}/sign-in/first/{secret}"


def main() -> None:
    """Run the web process."""
    keep_files_private()
    try:
        serve_web(settings_at_start())
    except InvalidRequest as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
