"""Pages and their sockets: a socket may only join a page that its own browser session opened."""

from __future__ import annotations

import functools
from typing import Any

from bokeh.util.token import check_token_signature, get_token_payload
from bokeh_fastapi.handler import WSHandler
from starlette.types import Scope

from teknav_ops.access.identity import Identity
from teknav_ops.api.visit import SESSION_HEADER
from teknav_ops.secret_key import digest
from teknav_ops.settings import Settings


def page_key(settings: Settings) -> bytes:
    """The key that signs pages' tokens: the same in every web process. Raises MissingSecretKey."""
    return digest(settings, "pages", "tokens").encode()


class OwnPages:
    """The guard's question to a page's socket: is the page's token ours, and was the page made for this session?"""

    def __init__(self, settings: Settings) -> None:
        self._key = page_key(settings)

    def __call__(self, scope: Scope, identity: Identity) -> bool:
        """Whether the socket may be opened; sockets that are no page's are not asked."""
        if not str(scope["path"]).endswith("/ws"):
            return True
        protocols = list(scope.get("subprotocols", ()))
        if len(protocols) != 2 or protocols[0] != "bokeh":
            return False
        try:
            if not check_token_signature(protocols[1], secret_key=self._key, signed=True):
                return False
            headers = get_token_payload(protocols[1]).get("headers", {})
        except Exception:
            # Whatever is wrong with a token, it is not ours.
            return False
        named = {name.lower(): value for name, value in headers.items()}
        # A token has no session, and so no page.
        return identity.session_id is not None and named.get(SESSION_HEADER) == identity.session_id


def mend_sockets() -> None:
    """Let a page go when its socket closes.

    bokeh-fastapi 0.1.8 expects an exception where starlette answers with a message, so it never notices that a browser
    has left: each visit's document, and all that refreshes it, would stay for ever. Safe to call again.
    """
    connect = WSHandler.ws_connect
    if hasattr(connect, "__wrapped__"):
        return

    @functools.wraps(connect)
    async def connect_and_leave(handler: Any, socket: Any) -> None:
        try:
            await connect(handler, socket)
        finally:
            if handler.connection is not None:
                handler.application.client_lost(handler.connection)

    WSHandler.ws_connect = connect_and_leave
