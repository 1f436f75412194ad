"""The ports that tests listen on."""

from __future__ import annotations

import random
import socket

# Not the shared generator, which property tests seed: each process would be told the same ports.
_PORTS = random.SystemRandom()


def free_port() -> int:
    """A port nobody listens at, below those that systems give to outgoing connections.

    One of those could be taken by any client between here and the server's start; and who connects to one where nobody
    listens may, now and then, be given that very port and reach himself.
    """
    while True:
        port = _PORTS.randrange(15_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
