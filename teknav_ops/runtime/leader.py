"""Leader lease: of several schedulers one leads, and a standby takes over when it falls silent."""

from __future__ import annotations

import os
import secrets
import socket
import time
from typing import Final

from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner

LEASE_MS: Final = 8_000
#: Part of a lease in which its holder trusts it: the rest is for clocks that run at different speeds.
_TRUSTED: Final = 0.9


class LeaderLease:
    """Holds a role while it keeps asking for it, at least every few seconds."""

    def __init__(self, client: Client, role: str, *, lease_ms: int = LEASE_MS) -> None:
        self._runner = ScriptRunner(client)
        self._role = role
        self._lease_ms = lease_ms
        self._trusted_until = 0.0
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        #: Which taking of the role this is; 0 before the first. Goes with what a leader writes.
        self.term = 0

    def hold(self) -> bool:
        """Take or renew the lease; False while another holds it."""
        asked_at = time.monotonic()
        call = scripts.lead(self._role, holder=self.holder, lease_ms=self._lease_ms, wish="renew")
        term = self._runner.run(call)
        if term:
            self.term = term
            self._trusted_until = asked_at + self._lease_ms / 1000 * _TRUSTED
        else:
            self._trusted_until = 0.0
        return term > 0

    @property
    def is_held(self) -> bool:
        """Whether the role is certainly ours at this moment; asks nobody."""
        return time.monotonic() < self._trusted_until

    def give_up(self) -> None:
        """Let a standby take over at once."""
        self._trusted_until = 0.0
        self._runner.run(scripts.lead(self._role, holder=self.holder, lease_ms=self._lease_ms, wish="release"))
