"""Metrics for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import PlainTextResponse

from teknav_ops.api.dependencies import FromServices, MayScrape
from teknav_ops.api.exact_requests import ExactRoute
from teknav_ops.api.problems import answers

router = APIRouter(tags=["health"], route_class=ExactRoute)


@router.get(
    "/metrics",
    operation_id="scrape_metrics",
    summary="Metrics for Prometheus",
    response_class=PlainTextResponse,
    responses={200: {"description": "Text in Prometheus's format.", "content": {"text/plain": {}}}, **answers()},
)
def scrape_metrics(services: FromServices, _: MayScrape) -> PlainTextResponse:
    """Read from Redis at this moment; docs/metrics.md explains each. Any number of processes may be asked."""
    # Imported when first asked for: it needs the extra `metrics`.
    from prometheus_client import CONTENT_TYPE_LATEST

    from teknav_ops.metrics.prometheus import render_metrics

    snapshots = services.settings.snapshot_root
    body = render_metrics(services.client, services.topology, snapshot_root=snapshots)
    return PlainTextResponse(body, media_type=CONTENT_TYPE_LATEST)
