"""analytics:process: take in what readers did, and bring the daily figures up to date."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.payloads.analytics_process import ProcessEvents
from teknav_ops.storage.analytics import count_next, put_events, sort_in_next, waiting_counts
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import AnalyticsRejectedEvent
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services

_KEPT_CHARACTERS: Final = 2_000
_Id = Annotated[str, Field(min_length=1, max_length=64)]


class ReaderEvent(BaseModel):
    """One event as a client sends it. What its kind asks for is checked when it is sorted in."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    event_id: _Id
    kind: Literal["page_view", "read", "share", "search", "search_click"]
    occurred_at: AwareDatetime
    visitor_id: _Id
    session_id: _Id
    user_id: _Id | None = None
    article_id: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    language: Literal["fa", "en"] | None = None
    query: Annotated[str, Field(max_length=300)] | None = None
    result_count: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    seconds: Annotated[float, Field(allow_inf_nan=False)] | None = None


@processor("process-events")
def process_events(job: ProcessEvents, ctx: JobContext[Services]) -> Mapping[str, Any]:
    """Store the job's events, sort in all that wait, and count the figures they change.

    Runs twice safely: an event is stored once by its id and sorted in once, and figures are counted from all events,
    never added to.
    """
    summary = _take_in(job, ctx) | _sort_in(job, ctx)
    summary["counted"] = _count(ctx)
    with ctx.services.database.session() as session:
        record_effect(session, ctx.job_id, ctx.queue, summary)
    ctx.log.info("analytics.processed", **summary)
    return summary


def _take_in(job: ProcessEvents, ctx: JobContext[Services]) -> dict[str, int]:
    """The job's own events into the database: all of them, or set aside with what is wrong with them."""
    rows, rejected = [], []
    for position, event in enumerate(job.events):
        try:
            rows.append(_row(event))
        except ValidationError as error:
            problems = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:5])
            kept = json.dumps(event, ensure_ascii=False, default=str)[:_KEPT_CHARACTERS].replace("\\u0000", "")
            rejected.append({"job_id": ctx.job_id, "position": position, "problem": problems, "event": kept})
    with ctx.services.database.session() as session:
        new_count = put_events(session, rows)
        if rejected:
            put = insert_into(session, AnalyticsRejectedEvent).values(rejected)
            session.execute(put.on_conflict_do_nothing())
    return {"received": len(job.events), "new": new_count, "rejected": len(rejected)}


def _row(event: dict[str, Any]) -> dict[str, Any]:
    # PostgreSQL keeps no NUL in a text.
    clean = {name: value.replace("\0", "") if isinstance(value, str) else value for name, value in event.items()}
    checked = ReaderEvent.model_validate(clean)
    return {**checked.model_dump(), "occurred_at": checked.occurred_at.astimezone(UTC), "received_at": utc_now()}


def _sort_in(job: ProcessEvents, ctx: JobContext[Services]) -> dict[str, int]:
    settings = ctx.services.settings
    zone = ZoneInfo(settings.site_time_zone)
    expected = max(1, min(job.limit, waiting_counts(ctx.services.database)[0]))
    sorted_count = set_aside = 0
    while sorted_count < job.limit:
        done, bad = sort_in_next(
            ctx.services.database,
            zone,
            limit=job.limit - sorted_count,
            latest_age_days=settings.analytics_latest_age_days,
        )
        if not done:
            break
        sorted_count, set_aside = sorted_count + done, set_aside + bad
        ctx.report_progress(min(0.7, 0.7 * sorted_count / expected), f"{sorted_count:,} events sorted in")
    return {"sorted": sorted_count, "set_aside": set_aside}


def _count(ctx: JobContext[Services]) -> int:
    """All figures that wait to be counted, whoever changed them: a job that died may have left some."""
    counted = 0
    for kind in ("article", "query", "user"):
        while done := count_next(ctx.services.database, kind):
            counted += done
            ctx.report_progress(0.7 + 0.3 * (1 - math.exp(-counted / 20_000)), f"{counted:,} figures counted")
    return counted
