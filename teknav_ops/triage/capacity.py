"""Capacity: threads busy, threads needed, how long a backlog takes. Estimates, from queueing theory.

Sources: the utilisation law (Little 1961); Erlang's C formula (1917), through the B recursion; Allen and Cunneen's
approximation of the mean wait in G/G/c (Allen, Probability, Statistics, and Queueing Theory, 1990, section 5.6).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Final

from teknav_ops.errors import InvalidRequest

#: Above it, waits grow steeply with the smallest burst.
TARGET_UTILISATION: Final = 0.7
_THREAD_LIMIT: Final = 100_000


@dataclasses.dataclass(frozen=True, slots=True)
class CapacityEstimate:
    """One queue's capacity. All figures but `busy_threads` and `utilisation` are estimates.

    `mean_wait_seconds` and `drain_seconds` are None where work arrives faster than it is done.
    """

    threads: int
    busy_threads: float
    utilisation: float
    mean_wait_seconds: float | None
    drain_seconds: float | None
    needed_threads: int

    @property
    def words(self) -> str:
        """One line for a person."""
        keeps_up = self.drain_seconds is not None
        ending = f"backlog gone in {self.drain_seconds:,.0f} s" if keeps_up else "the backlog grows"
        return (
            f"estimate: {self.busy_threads:.1f} of {self.threads} threads busy ({self.utilisation:.0%}), "
            f"{ending}; {self.needed_threads} thread{'' if self.needed_threads == 1 else 's'} would be comfortable"
        )


def busy_threads(*, rate_per_second: float, mean_seconds: float) -> float:
    """Threads busy on average: arrivals times mean duration. Exact where all that arrives is done (Little's law)."""
    _require(rate_per_second=rate_per_second, mean_seconds=mean_seconds)
    return rate_per_second * mean_seconds


def threads_needed(
    *, rate_per_second: float, mean_seconds: float, target_utilisation: float = TARGET_UTILISATION
) -> int:
    """Fewest threads at which utilisation stays at or below the target; at least one."""
    if not 0 < target_utilisation <= 1:
        raise InvalidRequest(f"target_utilisation: {target_utilisation} must lie between 0 and 1")
    busy = busy_threads(rate_per_second=rate_per_second, mean_seconds=mean_seconds)
    # Without the rounding, 7 busy threads at 0.7 would need eleven.
    return max(1, math.ceil(round(busy / target_utilisation, 9)))


def drain_seconds(
    *, backlog_count: int, threads: int, mean_seconds: float, rate_per_second: float = 0.0
) -> float | None:
    """How long until the backlog is gone while work keeps arriving; None if it never is.

    `backlog / (threads / mean - arrivals)`: a fluid limit, good for backlogs much larger than the threads.
    """
    _require(backlog_count=backlog_count, rate_per_second=rate_per_second, mean_seconds=mean_seconds)
    if backlog_count == 0 or mean_seconds == 0:
        return 0.0
    spare_per_second = threads / mean_seconds - rate_per_second
    return backlog_count / spare_per_second if spare_per_second > 0 else None


def erlang_c(threads: int, offered: float) -> float:
    """Probability that a job must wait (M/M/c), with `offered` threads' worth of work; 1 when that is too much.

    Through Erlang B, `B(0) = 1`, `B(k) = a B(k-1) / (k + a B(k-1))`, which cannot overflow; then
    `C = B / (1 - rho (1 - B))`.
    """
    if not 1 <= threads <= _THREAD_LIMIT:
        raise InvalidRequest(f"threads: {threads} must lie between 1 and {_THREAD_LIMIT}")
    _require(offered=offered)
    if offered >= threads:
        return 1.0
    blocking = 1.0
    for count in range(1, threads + 1):
        blocking = offered * blocking / (count + offered * blocking)
    return blocking / (1 - offered / threads * (1 - blocking))


def mean_wait_seconds(
    *, rate_per_second: float, mean_seconds: float, threads: int, duration_variation: float = 1.0,
    arrival_variation: float = 1.0,
) -> float | None:  # fmt: skip
    """Mean time a job waits for a thread, by Allen and Cunneen; None where the queue grows without end.

    `C(c, a) / (c / mean - arrivals) * (ca^2 + cs^2) / 2`. Variations are standard deviation over mean: 1 for
    exponential durations or Poisson arrivals, 0 for constant ones. Exact for M/M/c; against simulations of M/G/c it is
    up to 35 % pessimistic, most where durations vary much. Bursts of arrivals (variation above 1) are not seen
    unless given.
    """
    _require(duration_variation=duration_variation, arrival_variation=arrival_variation)
    offered = busy_threads(rate_per_second=rate_per_second, mean_seconds=mean_seconds)
    if offered >= threads:
        return None
    if offered == 0:
        return 0.0
    spare_per_second = threads / mean_seconds - rate_per_second
    return erlang_c(threads, offered) / spare_per_second * (arrival_variation**2 + duration_variation**2) / 2


def estimate(
    *, rate_per_second: float, mean_seconds: float, threads: int, backlog_count: int = 0,
    duration_variation: float = 1.0, target_utilisation: float = TARGET_UTILISATION,
) -> CapacityEstimate:  # fmt: skip
    """All of it for one queue. `rate_per_second` is of arrivals; `threads` are those that serve this queue."""
    if threads < 1:
        raise InvalidRequest("threads: must be at least 1")
    load = {"rate_per_second": rate_per_second, "mean_seconds": mean_seconds}
    busy = busy_threads(**load)
    return CapacityEstimate(
        threads=threads,
        busy_threads=busy,
        utilisation=busy / threads,
        mean_wait_seconds=mean_wait_seconds(**load, threads=threads, duration_variation=duration_variation),
        drain_seconds=drain_seconds(**load, backlog_count=backlog_count, threads=threads) if busy < threads else None,
        needed_threads=threads_needed(**load, target_utilisation=target_utilisation),
    )


def _require(**figures: float) -> None:
    for name, figure in figures.items():
        if not (math.isfinite(figure) and figure >= 0):
            raise InvalidRequest(f"{name}: {figure} must be a number from 0 up")
