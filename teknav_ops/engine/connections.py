"""The connections of one process: a pool that all share, and some of their own for who must never stand in line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.scripts import ScriptRunner

_FEW: Final = 2
#: Who waits has one connection, or on a Cluster one per slot.
_SLOTS: Final = 16_384
_WAITING_MARGIN_SECONDS: Final = 4.0


class Connections:
    """Clients by what they are for; `connect` makes one and takes options of `redis_state.connection.connect`."""

    def __init__(self, connect: Callable[..., Client]) -> None:
        self._connect = connect
        self.shared = connect()
        self._own: list[Client] = []

    def own_runner(self) -> ScriptRunner:
        """For one thread that sends scripts: the finisher, the lease keeper."""
        return ScriptRunner(self._made(max_connections=_FEW))

    def waiting(self, seconds: float) -> Client:
        """To block for so long, which may be longer than any other call may take."""
        return self._made(max_connections=_SLOTS, timeout_seconds=seconds + _WAITING_MARGIN_SECONDS)

    def _made(self, **options: float) -> Client:
        client = self._connect(**options)
        self._own.append(client)
        return client

    def close(self) -> None:
        """Drop them all."""
        while self._own:
            self._own.pop().close()
        self.shared.close()
