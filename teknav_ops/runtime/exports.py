"""What a scheduler exports of the numbers: Prometheus's page, and OpenTelemetry's spans and metrics."""

from __future__ import annotations

import contextlib
import importlib.util
import socket
from collections.abc import Callable
from typing import Final

import structlog

from teknav_ops.metrics.reading import Reader
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_url import find_redis_url
from teknav_ops.runtime.leader import LeaderLease
from teknav_ops.settings import Settings
from teknav_ops.telemetry import start_meter, start_telemetry
from teknav_ops.topology import TOPOLOGY

log = structlog.get_logger("teknav.scheduler")

#: An export gives up on Redis sooner than whoever waits for the export.
_REDIS_TIMEOUT_SECONDS: Final = 1.5
_USUAL_PORT: Final = 8801


def local_metrics_address(settings: Settings) -> str | None:
    """Where `teknav up` has metrics served: as set; else on this machine's usual port, or on a free one where that is
    taken. None without the extra.
    """
    if settings.metrics_address is not None:
        return settings.metrics_address
    if importlib.util.find_spec("prometheus_client") is None:
        return None
    with socket.socket() as probe:
        # As the server will: a port that was used a moment ago may be had.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for port in (_USUAL_PORT, 0):
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return f"127.0.0.1:{probe.getsockname()[1]}"
    return None


class Exports:
    """Begins what the settings ask for; `close` sends what is left and stops. Standbys serve Prometheus too."""

    def __init__(self, settings: Settings, lease: LeaderLease) -> None:
        """Raises InvalidRequest when an extra is missing or the address cannot be had."""
        self._ends: list[Callable[[], None]] = []
        if settings.metrics_address is not None:
            from teknav_ops.metrics.prometheus import MetricsServer

            server = MetricsServer(
                settings.metrics_address, find_redis_url(settings), snapshot_root=settings.snapshot_root
            )
            self._ends.append(server.close)
            log.info("metrics.serving", url=f"http://{settings.metrics_address}/metrics")
        if settings.telemetry:
            self._ends += [start_telemetry("teknav-scheduler"), self._observe(settings, lease)]

    def close(self) -> None:
        """Send what is left, and stop."""
        for end in self._ends:
            end()

    def _observe(self, settings: Settings, lease: LeaderLease) -> Callable[[], None]:
        meter, end = start_meter("teknav-scheduler")
        from teknav_ops.metrics.telemetry import observe

        client = connect(find_redis_url(settings), timeout_seconds=_REDIS_TIMEOUT_SECONDS, retry_count=0)
        reader = Reader(client, TOPOLOGY, snapshot_root=settings.snapshot_root)
        observe(meter, reader, lambda: lease.is_held)
        return end
