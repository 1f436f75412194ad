"""analytics:snapshot: compute the platform's dashboard in advance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.payloads.analytics_snapshot import SnapshotDashboard
from teknav_ops.platform.dashboard import compute_dashboard, put_dashboard, utc_moment
from workers.services import Services


@processor("snapshot-dashboard")
def snapshot_dashboard(job: SnapshotDashboard, ctx: JobContext[Services]) -> Mapping[str, Any]:
    """Ask the daily figures and put the answer into Redis as one value that expires.

    Runs twice safely: it only replaces a computed value by a newer one.
    """
    settings = ctx.services.settings
    dashboard = compute_dashboard(
        ctx.services.database, days=job.days, top=job.top,
        time_zone=ZoneInfo(settings.site_time_zone), now=utc_moment(),
    )  # fmt: skip
    is_newest = put_dashboard(
        ctx.services.redis, dashboard, days=job.days, ttl_seconds=settings.dashboard_snapshot_seconds
    )
    summary = {"days": job.days, "views": dashboard.totals.view_count, "articles": len(dashboard.articles),
               "queries": len(dashboard.queries), "is_newest": is_newest}  # fmt: skip
    ctx.log.info("analytics.snapshot", **summary)
    return summary
