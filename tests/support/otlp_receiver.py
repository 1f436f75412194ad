"""A real OTLP/HTTP receiver: what an OpenTelemetry collector would be sent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.ports import free_port


class OtlpReceiver:
    """Spans and metrics in the order in which they came, each with the name of its service."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []
        self.metrics: list[tuple[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver._take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def _take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                service = attributes(resource.resource.attributes)["service.name"]
                self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]
        elif path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                service = attributes(resource.resource.attributes)["service.name"]
                self.metrics += [(service, metric) for scope in resource.scope_metrics for metric in scope.metrics]

    def named(self, name: str) -> list[tuple[str, Any]]:
        """The spans of one name."""
        return [(service, span) for service, span in self.spans if span.name == name]


def attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def points(metric: Any) -> dict[tuple[tuple[str, Any], ...], float]:
    """Attributes -> value."""
    data = metric.sum if metric.HasField("sum") else metric.gauge
    return {
        tuple(sorted(attributes(point.attributes).items())): point.as_double or float(point.as_int)
        for point in data.data_points
    }


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver, listening while the block lasts."""
    receiver = OtlpReceiver()
    receiver._thread.start()
    try:
        yield receiver
    finally:
        receiver._server.shutdown()
        receiver._server.server_close()
        receiver._thread.join()
