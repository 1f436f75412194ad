"""Capacity against published values and a simulated queue."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable

import pytest

from teknav_ops.errors import InvalidRequest
from teknav_ops.triage.capacity import (
    busy_threads,
    drain_seconds,
    erlang_c,
    estimate,
    mean_wait_seconds,
    threads_needed,
)


class Simulated:
    """A first-come, first-served queue with so many threads, job by job."""

    def __init__(
        self, *, rate: float, threads: int, duration: Callable[[random.Random], float], jobs: int, backlog: int = 0
    ) -> None:
        chance = random.Random(7)
        free_at = [0.0] * threads
        waits, busy, now = [], 0.0, 0.0
        for number in range(jobs + backlog):
            now = 0.0 if number < backlog else now + chance.expovariate(rate)
            begins = max(now, heapq.heappop(free_at))
            takes = duration(chance)
            heapq.heappush(free_at, begins + takes)
            waits.append(begins - now)
            busy += takes
        self.mean_wait = sum(waits) / len(waits)
        self.busy_threads = busy / now if now else math.nan
        self.waits = waits


def lognormal(mean: float, variation: float) -> Callable[[random.Random], float]:
    sigma = math.sqrt(math.log(1 + variation**2))
    return lambda chance: chance.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)


@pytest.mark.parametrize(
    ("threads", "offered", "published", "source"),
    [
        (1, 0.5, 0.5, "M/M/1: the utilisation"),
        (2, 1.0, 1 / 3, "M/M/2: 2 rho^2 / (1 + rho)"),
        (14, 10.0, 0.174, "200 calls an hour of 3 minutes, 14 agents"),
        (55, 48.0, 0.239, "360 calls per half hour of 4 minutes, 55 agents"),
    ],
)
def test_erlang_c_is_as_published(threads: int, offered: float, published: float, source: str) -> None:
    assert erlang_c(threads, offered) == pytest.approx(published, abs=0.0006), source


def test_erlang_c_does_not_overflow_and_knows_overload() -> None:
    assert 0 < erlang_c(5_000, 4_900) < 1
    assert erlang_c(4, 4) == erlang_c(4, 9) == 1
    assert erlang_c(4, 0) == 0


def test_mean_wait_of_exponential_jobs_is_exact() -> None:
    # Published: 14 agents, 10 erlangs of 180 s: average speed of answer 7.8 s.
    assert mean_wait_seconds(rate_per_second=10 / 180, mean_seconds=180, threads=14) == pytest.approx(7.8, abs=0.05)


@pytest.mark.parametrize("utilisation", [0.7, 0.9])
@pytest.mark.parametrize("variation", [0.5, 1.0, 1.5])
def test_the_estimated_wait_is_near_the_simulated_one(utilisation: float, variation: float) -> None:
    threads, mean = 10, 1.0
    rate = threads * utilisation / mean

    simulated = Simulated(rate=rate, threads=threads, duration=lognormal(mean, variation), jobs=150_000)
    estimated = mean_wait_seconds(
        rate_per_second=rate, mean_seconds=mean, threads=threads, duration_variation=variation
    )

    assert estimated is not None
    assert 0.75 < estimated / simulated.mean_wait < 1.4


def test_busy_threads_are_those_of_a_simulated_queue() -> None:
    simulated = Simulated(rate=6.0, threads=10, duration=lognormal(0.8, 1.2), jobs=100_000)

    assert busy_threads(rate_per_second=6.0, mean_seconds=0.8) == pytest.approx(simulated.busy_threads, rel=0.03)


def test_a_backlog_is_gone_when_the_estimate_says() -> None:
    rate, threads, mean, backlog = 4.0, 8, 1.0, 2_000
    estimated = drain_seconds(backlog_count=backlog, threads=threads, mean_seconds=mean, rate_per_second=rate)
    assert estimated == pytest.approx(500)

    simulated = Simulated(rate=rate, threads=threads, duration=lognormal(mean, 1.0), jobs=6_000, backlog=backlog)
    first_at_once = next(number for number, wait in enumerate(simulated.waits[backlog:]) if wait < mean / 10)

    assert (first_at_once + 1) / rate == pytest.approx(estimated, rel=0.1)


def test_a_backlog_that_grows_is_never_gone() -> None:
    assert drain_seconds(backlog_count=1, threads=2, mean_seconds=1, rate_per_second=2) is None
    assert drain_seconds(backlog_count=0, threads=2, mean_seconds=1, rate_per_second=2) == 0
    assert mean_wait_seconds(rate_per_second=2, mean_seconds=1, threads=2) is None


@pytest.mark.parametrize(("rate", "needed"), [(0, 1), (6.9, 10), (7.0, 10), (7.1, 11), (70.0, 100)])
def test_threads_needed_keep_utilisation_at_the_target(rate: float, needed: int) -> None:
    found = threads_needed(rate_per_second=rate, mean_seconds=1.0, target_utilisation=0.7)

    assert found == needed
    assert rate / found <= 0.7 + 1e-9


def test_an_estimate_calls_itself_one() -> None:
    calm = estimate(rate_per_second=7, mean_seconds=1, threads=10, backlog_count=300)
    drowning = estimate(rate_per_second=20, mean_seconds=1, threads=10, backlog_count=300)

    assert calm.words == (
        "estimate: 7.0 of 10 threads busy (70%), backlog gone in 100 s; 10 threads would be comfortable"
    )
    assert drowning.drain_seconds is drowning.mean_wait_seconds is None
    assert "the backlog grows; 29 threads" in drowning.words
    assert estimate(rate_per_second=0, mean_seconds=0, threads=1).drain_seconds == 0


@pytest.mark.parametrize(
    ("name", "facts"),
    [
        ("rate_per_second", {"rate_per_second": -1}),
        ("mean_seconds", {"mean_seconds": math.nan}),
        ("threads", {"threads": 0}),
        ("target_utilisation", {"target_utilisation": 0}),
        ("backlog_count", {"backlog_count": -1}),
    ],
)
def test_wrong_input_is_named(name: str, facts: dict[str, float]) -> None:
    with pytest.raises(InvalidRequest, match=name):
        estimate(**{"rate_per_second": 1, "mean_seconds": 1, "threads": 10, **facts})  # type: ignore[arg-type]
