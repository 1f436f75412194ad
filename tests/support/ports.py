"""The ports that tests listen on."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Final

#: Below those that systems give to outgoing connections. One of those could be taken by any client between here and the
#: server's start; and who connects to one where nobody listens may, now and then, be given that very port and reach
#: himself.
_FIRST, _END = 15_000, 32_000
#: Processes that run tests take every n-th port, each from another first one: up to eight of a run, and several runs.
_PROCESSES_PER_RUN, _RUNS = 8, 8


def free_port() -> int:
    """A port nobody listens at, that no other process of this run is told and this one is not told again soon.

    Else two would now and then be told one port, before either has begun to listen there.
    """
    return next(port for port in _PORTS if _is_free(port))


def listen() -> socket.socket:
    """A socket that listens, takes connections and never says a word; who asked for it closes it."""
    return socket.create_server(("127.0.0.1", free_port()))


def port_of(listening: socket.socket) -> int:
    """Where a socket listens."""
    return int(listening.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _endless() -> Iterator[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _PROCESSES_PER_RUN
    first = _FIRST + number + _PROCESSES_PER_RUN * (os.getppid() % _RUNS)
    ports = list(range(first, _END, _PROCESSES_PER_RUN * _RUNS))
    # Not the shared generator, which property tests seed: two runs at once would be told the same ports.
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


_PORTS: Final = _endless()
