"""Prometheus: every metric of the catalogue, read from Redis when scraped. Any number of processes may serve it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

from teknav_ops.errors import InvalidRequest
from teknav_ops.metrics.catalogue import FAMILIES, UP, Distribution, Family, Sample
from teknav_ops.metrics.reading import Reader
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.topology import TOPOLOGY, Topology

try:
    from prometheus_client import CollectorRegistry, generate_latest, start_http_server
    from prometheus_client.metrics_core import (
        CounterMetricFamily,
        GaugeMetricFamily,
        HistogramMetricFamily,
        Metric,
        SummaryMetricFamily,
    )
    from prometheus_client.registry import Collector
except ModuleNotFoundError as error:
    raise InvalidRequest(f"{error.name} is missing: pip install 'teknav-ops[metrics]'") from error

#: A scrape gives up on Redis well before Prometheus gives up on the scrape (10 s, unless told otherwise).
REDIS_TIMEOUT_SECONDS: Final = 1.5
_KINDS: Final[dict[str, Callable[..., Metric]]] = {
    "gauge": GaugeMetricFamily,
    "counter": CounterMetricFamily,
    "histogram": HistogramMetricFamily,
    "summary": SummaryMetricFamily,
}


class RedisCollector(Collector):
    """Reads at each scrape. While Redis does not answer, `teknav_up` is 0 and nothing else is there."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._one_at_a_time = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        """One metric per family of the catalogue."""
        # Scrapes that pile up while Redis is slow share one answer.
        with self._one_at_a_time:
            reading = self._reader.read()
        yield _metric(UP, [((), 0.0 if reading is None else 1.0)])
        if reading is not None:
            for family in FAMILIES:
                yield _metric(family, family.samples(reading))


def _metric(family: Family, samples: Iterable[Sample]) -> Metric:
    metric: Any = _KINDS[family.kind](family.name, family.help, labels=family.labels)
    for labels, value in samples:
        if not isinstance(value, Distribution):
            metric.add_metric(labels, value)
        elif family.kind == "histogram":
            metric.add_metric(labels, buckets=value.buckets, sum_value=value.sum_seconds)
        else:
            metric.add_metric(labels, count_value=value.count, sum_value=value.sum_seconds)
    return cast(Metric, metric)


def render_metrics(client: Client, topology: Topology = TOPOLOGY, *, snapshot_root: Path | None = None) -> str:
    """The metrics as text, for an application that serves them itself."""
    return generate_latest(_registry(Reader(client, topology, snapshot_root=snapshot_root))).decode()


class MetricsServer:
    """Serves `/metrics` from a thread until it is closed."""

    def __init__(self, address: str, redis_url: str, topology: Topology = TOPOLOGY, *, snapshot_root: Path) -> None:
        """Listen on `address`, as host:port.

        Raises:
            InvalidRequest: the address cannot be had.
        """
        host, _, port = address.rpartition(":")
        self._client = connect(redis_url, timeout_seconds=REDIS_TIMEOUT_SECONDS, retry_count=0)
        registry = _registry(Reader(self._client, topology, snapshot_root=snapshot_root))
        try:
            self._server, self._thread = start_http_server(int(port), host.strip("[]"), registry)
        except (OSError, OverflowError) as error:
            raise InvalidRequest(
                f"metrics_address: cannot listen on {address} ({error}); set TEKNAV_METRICS_ADDRESS to a free one, "
                "or unset it to serve no metrics"
            ) from None

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._client.close()


def _registry(reader: Reader) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(RedisCollector(reader))
    return registry
