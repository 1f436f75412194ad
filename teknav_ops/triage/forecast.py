"""Capacity over time: the shape of a week's load, what the coming hours may bring, and what-if. All estimates.

The forecast is seasonal and simple on purpose: an hour is expected to be like the same hour of the days before, and
the interval is what those days were like. With few days it is wide, and it says of how many days it is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.capacity import TARGET_UTILISATION, busy_threads, estimate, threads_needed

if TYPE_CHECKING:
    import pandas

HOUR_SECONDS: Final = 3_600
#: With fewer days, the interval is from the smallest to the largest.
_QUANTILE_DAYS: Final = 10
_LOW, _HIGH = 0.1, 0.9
LOAD_FACTORS: Final = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)


def hourly_arrivals(counts: pandas.DataFrame, *, since: datetime, until: datetime) -> pandas.DataFrame:
    """Jobs that came per whole hour of the window, hours without any too. `counts`: at (begin of an hour), enqueued.

    Hours that the window cuts at either end are left out: they would look quiet.
    """
    import pandas as pd

    first, last = pd.Timestamp(since).ceil("h"), pd.Timestamp(until).floor("h")
    hours = pd.date_range(first, last, freq="h", inclusive="left")
    sums = counts.groupby("at")["enqueued"].sum() if len(counts) else pd.Series(dtype="int64")
    return pd.DataFrame({"at": hours, "enqueued": sums.reindex(hours, fill_value=0).to_numpy()})


def forecast(hourly: pandas.DataFrame, *, mean_seconds: float, hours: int = 24) -> pandas.DataFrame:
    """The coming hours: at, expected, low and high (jobs per hour), days (that it is made of), and the threads for
    which expected and high would be comfortable. No rows where there is no whole hour to learn from.
    """
    import pandas as pd

    if not 1 <= hours <= 7 * 24:
        raise InvalidRequest(f"forecast_hours: {hours} is not between 1 and {7 * 24}")
    columns = ["at", "expected", "low", "high", "days", "threads_expected", "threads_high"]
    if hourly.empty:
        return pd.DataFrame(columns=columns)
    begin = hourly["at"].max() + timedelta(hours=1)
    by_hour = hourly.groupby(hourly["at"].dt.hour)["enqueued"]
    rows = [_hour(begin + timedelta(hours=ahead), by_hour, hourly["enqueued"], mean_seconds) for ahead in range(hours)]
    return pd.DataFrame(rows, columns=columns)


def scenarios(
    *, rate_per_second: float, mean_seconds: float, threads: int, backlog_count: int = 0,
    load_factors: Sequence[float] = LOAD_FACTORS,
) -> pandas.DataFrame:  # fmt: skip
    """What if the load were so many times today's: load_factor, busy_threads, threads, utilisation, mean_wait_seconds,
    drain_seconds and needed_threads. Waits and drain times are null where work arrives faster than it is done.
    """
    import pandas as pd

    rows = []
    for factor in load_factors:
        found = estimate(
            rate_per_second=rate_per_second * factor, mean_seconds=mean_seconds, threads=threads,
            backlog_count=backlog_count,
        )  # fmt: skip
        rows.append(
            {
                "load_factor": factor, "busy_threads": found.busy_threads, "threads": threads,
                "utilisation": found.utilisation, "mean_wait_seconds": found.mean_wait_seconds,
                "drain_seconds": found.drain_seconds, "needed_threads": found.needed_threads,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def _hour(
    at: datetime, by_hour: Any, all_hours: pandas.Series, mean_seconds: float
) -> dict[str, object]:  # fmt: skip
    # An hour of the day that was never seen is expected to be like any other.
    known = by_hour.get_group(at.hour) if at.hour in by_hour.groups else all_hours
    is_seen = at.hour in by_hour.groups
    low, high = (
        (known.quantile(_LOW), known.quantile(_HIGH)) if len(known) >= _QUANTILE_DAYS else (known.min(), known.max())
    )  # fmt: skip
    expected = float(known.mean())
    return {
        "at": at, "expected": expected, "low": float(low), "high": float(high), "days": len(known) if is_seen else 0,
        "threads_expected": _threads(expected, mean_seconds), "threads_high": _threads(float(high), mean_seconds),
    }  # fmt: skip


def _threads(jobs_per_hour: float, mean_seconds: float) -> int:
    if busy_threads(rate_per_second=jobs_per_hour / HOUR_SECONDS, mean_seconds=mean_seconds) == 0:
        return 0
    return threads_needed(
        rate_per_second=jobs_per_hour / HOUR_SECONDS, mean_seconds=mean_seconds, target_utilisation=TARGET_UTILISATION
    )
