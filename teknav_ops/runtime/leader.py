"""Leader lease: of several schedulers one leads, and a standby takes over when it falls silent."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Final, Literal

from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner

LEASE_MS: Final = 8_000


class LeaderLease:
    """Holds a role while it keeps asking for it, at least every few seconds."""

    def __init__(self, client: Client, role: str, *, lease_ms: int = LEASE_MS) -> None:
        self._runner = ScriptRunner(client)
        self._key = keys.lease(role)
        self._lease_ms = lease_ms
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def hold(self) -> bool:
        """Take or renew the lease; False while another holds it."""
        return self._run("renew")

    def give_up(self) -> None:
        """Let a standby take over at once."""
        self._run("release")

    def _run(self, wish: Literal["renew", "release"]) -> bool:
        call = scripts.lead(self._key, holder=self.holder, lease_ms=self._lease_ms, wish=wish)
        return self._runner.run(call)
