"""The forecast: an hour is like the same hour of the days before, and the interval is what those were like."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.forecast import forecast, hourly_arrivals, scenarios

MIDNIGHT = datetime(2026, 11, 10, tzinfo=UTC)


def days_of(count: int, *, by_hour: np.ndarray | None = None, seed: int = 1) -> pd.DataFrame:
    """Poisson arrivals with a shape over the day."""
    shape = 50 + 40 * np.sin(np.arange(24) / 24 * 2 * np.pi) if by_hour is None else by_hour
    counts = np.random.default_rng(seed).poisson(np.tile(shape, count))
    return pd.DataFrame({"at": pd.date_range(MIDNIGHT, periods=24 * count, freq="h"), "enqueued": counts})


def test_hours_without_jobs_count_and_hours_that_are_cut_do_not() -> None:
    counts = pd.DataFrame({"at": [MIDNIGHT, MIDNIGHT + timedelta(hours=3)], "enqueued": [7, 5]})
    found = hourly_arrivals(
        counts, since=MIDNIGHT - timedelta(minutes=30), until=MIDNIGHT + timedelta(hours=3, minutes=59)
    )
    assert list(found["enqueued"]) == [7, 0, 0]
    assert hourly_arrivals(counts.head(0), since=MIDNIGHT, until=MIDNIGHT + timedelta(minutes=5)).empty


def test_the_interval_holds_most_of_what_then_comes() -> None:
    shape = 50 + 40 * np.sin(np.arange(24) / 24 * 2 * np.pi)
    held = []
    for seed in range(20):
        coming = forecast(days_of(21, seed=seed), mean_seconds=1.0)
        came = np.random.default_rng(1_000 + seed).poisson(shape)
        held.append(((came >= coming["low"]) & (came <= coming["high"])).mean())
        assert coming["expected"].to_numpy() == pytest.approx(shape, rel=0.4)
    # From the tenth to the ninetieth percentile of three weeks: about three quarters to nine tenths.
    assert 0.68 < float(np.mean(held)) < 0.95


def test_the_first_hour_is_the_one_after_the_last_and_hours_of_the_day_are_kept_apart() -> None:
    shape = np.where(np.arange(24) == 9, 3_600.0, 0.0)
    coming = forecast(days_of(3, by_hour=shape), mean_seconds=7.0, hours=48)

    assert coming["at"].iloc[0] == pd.Timestamp(MIDNIGHT + timedelta(days=3)) and len(coming) == 48
    busy = coming[coming["expected"] > 100]
    assert list(busy["at"].dt.hour) == [9, 9] and set(coming["days"]) == {3}
    # 3,600 jobs of 7 s in an hour keep 7 threads busy; at 0.7 that takes 10, or 11 where chance brought a few more.
    assert busy["threads_expected"].between(10, 11).all()
    assert (coming[coming["expected"] == 0]["threads_high"] == 0).all()


def test_a_young_system_is_forecast_from_what_there_is_and_says_of_how_many_days() -> None:
    three_hours = days_of(1).head(3)
    coming = forecast(three_hours, mean_seconds=1.0)
    assert list(coming["days"].head(22)) == [0] * 21 + [1]
    assert forecast(three_hours.head(0), mean_seconds=1.0).empty
    with pytest.raises(InvalidRequest, match="forecast_hours"):
        forecast(three_hours, mean_seconds=1.0, hours=0)


def test_scenarios_scale_the_load() -> None:
    found = scenarios(rate_per_second=2.0, mean_seconds=3.0, threads=10, backlog_count=100, load_factors=(1.0, 2.0))

    assert list(found["busy_threads"]) == [6.0, 12.0] and list(found["needed_threads"]) == [9, 18]
    assert found["drain_seconds"].iloc[0] == pytest.approx(100 / (10 / 3 - 2))
    assert found["drain_seconds"].isna().tolist() == [False, True]
