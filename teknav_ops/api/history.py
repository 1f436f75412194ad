"""A queue over time, as a client reads it: a day from Redis, longer with the newest snapshot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from teknav_ops.api.models import History, HistoryPoint
from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.states import RunOutcome
from teknav_ops.metrics.live import rounded
from teknav_ops.metrics.minutes import KEPT_MINUTES, MinuteCounts, merge, read_minutes
from teknav_ops.redis_state.connection import Client
from teknav_ops.settings import Settings

POINT_LIMIT: Final = 1_500
_MINUTE_SECONDS: Final = 60
_LIVE_SECONDS: Final = 24 * 3_600


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
    return window_seconds <= _LIVE_SECONDS


def history_from_minutes(
    client: Client, queue: str, window_seconds: int, step_seconds: int, outcome: RunOutcome
) -> History:
    """The window that ends now by the server's clock, in aligned steps; the last one is not over yet. Durations are of
    the runs of `outcome`.
    """
    seconds, microseconds = client.execute_command("TIME")
    now = int(seconds) + int(microseconds) / 1e6
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
        outcome=outcome,
        source="redis",
        as_of=datetime.fromtimestamp(now, UTC),
        points=[_point(start, merge(found.get(start, [])), outcome) for start in starts],
    )


def _point(minute: int, counts: MinuteCounts, outcome: RunOutcome) -> HistoryPoint:
    runs = counts.runs(outcome)
    return HistoryPoint(
        at=datetime.fromtimestamp(minute * _MINUTE_SECONDS, UTC),
        enqueued=counts.enqueued,
        completed=counts.completed,
        failed=counts.failed,
        retried=counts.retried,
        error_rate=None if counts.error_rate is None else round(counts.error_rate, 6),
        runs=runs.count,
        mean_duration_ms=rounded(runs.mean_ms),
        p50_duration_ms=rounded(runs.percentile_ms(0.5)),
        p95_duration_ms=rounded(runs.percentile_ms(0.95)),
        p99_duration_ms=rounded(runs.percentile_ms(0.99)),
        mean_waited_ms=rounded(counts.mean_waited_ms),
    )


def history_with_snapshot(
    settings: Settings, client: Client, queue: str, window_seconds: int, step_seconds: int, outcome: RunOutcome
) -> History:  # fmt: skip
    """The window that ends now: the last 24 hours from Redis, before that from the newest snapshot.

    Raises:
        NoSnapshot: there is none yet.
    """
    # Imported when first asked for: they need the extra `snapshots`, and a second to load.
    from teknav_ops.metrics.history import history
    from teknav_ops.snapshots.open import open_snapshot

    with open_snapshot(settings) as snapshot:
        window, step = timedelta(seconds=window_seconds), timedelta(seconds=step_seconds)
        frame = history(queue, window, step, client=client, snapshot=snapshot, outcome=outcome)
        as_of = snapshot.as_of
    return History(
        queue=queue,
        step_seconds=step_seconds,
        outcome=outcome,
        source="snapshot",
        as_of=as_of,
        points=[_row_point(row) for row in frame.to_dict("records")],
    )


def _row_point(row: Mapping[Any, Any]) -> HistoryPoint:
    def number(name: str, digits: int = 2) -> float | None:
        value = row[name]
        return None if value is None or math.isnan(value) else round(float(value), digits)

    def count(name: str) -> int:
        return int(number(name) or 0)

    return HistoryPoint(
        at=row["at"],
        is_known=bool(row["is_known"]),
        enqueued=None if number("enqueued") is None else count("enqueued"),
        completed=count("completed"),
        failed=count("failed"),
        retried=count("retried"),
        error_rate=number("error_rate", 6),
        runs=count("runs"),
        mean_duration_ms=number("avg_ms"),
        p50_duration_ms=number("p50_ms"),
        p95_duration_ms=number("p95_ms"),
        p99_duration_ms=number("p99_ms"),
        mean_waited_ms=number("avg_waited_ms"),
    )
