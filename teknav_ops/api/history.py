"""A queue over time, as a client reads it: minutes from Redis for a day, longer from the newest snapshot."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from teknav_ops.api.models import History, HistoryPoint
from teknav_ops.errors import InvalidRequest
from teknav_ops.metrics.live import rounded
from teknav_ops.metrics.minutes import KEPT_MINUTES, MinuteCounts, merge, read_minutes
from teknav_ops.redis_state.connection import Client
from teknav_ops.settings import Settings

POINT_LIMIT: Final = 1_500
_MINUTE_SECONDS: Final = 60


def check_step(window_seconds: int, step_seconds: int) -> None:
    """Raises InvalidRequest when the step is not whole minutes, or makes more points than can be drawn."""
    if step_seconds % _MINUTE_SECONDS:
        raise InvalidRequest(f"step_seconds: {step_seconds} is not whole minutes")
    if step_seconds > window_seconds:
        raise InvalidRequest("step_seconds: is longer than the window")
    if math.ceil(window_seconds / step_seconds) > POINT_LIMIT:
        raise InvalidRequest(f"step_seconds: makes more than {POINT_LIMIT:,} points; take a longer step")


def is_in_redis(window_seconds: int) -> bool:
    """Whether Redis keeps a window of this length."""
    return window_seconds // _MINUTE_SECONDS + 1 <= KEPT_MINUTES


def history_from_minutes(client: Client, queue: str, window_seconds: int, step_seconds: int) -> History:
    """The window that ends now, in steps aligned to the clock; the last one is not over yet."""
    now = time.time()
    step = step_seconds // _MINUTE_SECONDS
    last = int(now // _MINUTE_SECONDS)
    first = (last - window_seconds // _MINUTE_SECONDS + 1) // step * step
    first = max(first, last - KEPT_MINUTES + 1)
    found: dict[int, list[MinuteCounts]] = {}
    for row in read_minutes(client, queue, first, last):
        found.setdefault(row.minute // step * step, []).append(row)
    starts = range(first // step * step, last + 1, step)
    return History(
        queue=queue,
        step_seconds=step_seconds,
        source="redis",
        as_of=datetime.fromtimestamp(now, UTC),
        points=[_point(start, merge(found.get(start, []))) for start in starts],
    )


def _point(minute: int, counts: MinuteCounts) -> HistoryPoint:
    return HistoryPoint(
        at=datetime.fromtimestamp(minute * _MINUTE_SECONDS, UTC),
        enqueued=counts.enqueued,
        completed=counts.completed,
        failed=counts.failed,
        retried=counts.retried,
        runs=counts.measured,
        mean_duration_ms=rounded(counts.mean_duration_ms),
        p50_duration_ms=rounded(counts.percentile_ms(0.5)),
        p95_duration_ms=rounded(counts.percentile_ms(0.95)),
        p99_duration_ms=rounded(counts.percentile_ms(0.99)),
        mean_waited_ms=rounded(counts.mean_waited_ms),
    )


def history_from_snapshot(settings: Settings, queue: str, window_seconds: int, step_seconds: int) -> History:
    """The window that ends with the newest snapshot, exact. Raises NoSnapshot."""
    # Imported when first asked for: they need the extra `snapshots`, and a second to load.
    from teknav_ops.snapshots.open import open_snapshot
    from teknav_ops.snapshots.questions.running import p95_by_time

    step = timedelta(seconds=step_seconds)
    with open_snapshot(settings) as snapshot:
        as_of = snapshot.as_of
        first = math.floor((as_of - timedelta(seconds=window_seconds)).timestamp() / step_seconds) * step_seconds
        since = datetime.fromtimestamp(first, UTC)
        frame = p95_by_time(snapshot, queues=queue, width=step, since=since, until=as_of)
    found = {row["at"].timestamp(): row for row in frame.to_dict("records")}
    starts = range(first, math.ceil(as_of.timestamp()), step_seconds)
    return History(
        queue=queue,
        step_seconds=step_seconds,
        source="snapshot",
        as_of=as_of,
        points=[_row_point(start, found.get(float(start), {})) for start in starts],
    )


def _row_point(start: int, row: Mapping[Any, Any]) -> HistoryPoint:
    def number(name: str) -> float | None:
        value = row.get(name)
        return None if value is None or math.isnan(value) else rounded(float(value))

    return HistoryPoint(
        at=datetime.fromtimestamp(start, UTC),
        enqueued=None,
        completed=int(row.get("completed", 0)),
        failed=int(row.get("failed", 0)),
        retried=int(row.get("retried", 0)),
        runs=int(row.get("n", 0)),
        mean_duration_ms=number("avg_ms"),
        p50_duration_ms=number("p50_ms"),
        p95_duration_ms=number("p95_ms"),
        p99_duration_ms=number("p99_ms"),
        mean_waited_ms=None,
    )
