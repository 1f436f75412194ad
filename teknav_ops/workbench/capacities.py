"""Load and threads of each queue, from the snapshot and the workers alive now, for `capacity_forecast`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.jobs.worker_queries import WorkerProcess, WorkerQueries
from teknav_ops.redis_state.scripts import QueueCounts
from teknav_ops.snapshots import questions
from teknav_ops.topology import Queue
from teknav_ops.triage.capacity import estimate
from teknav_ops.triage.forecast import hourly_arrivals

if TYPE_CHECKING:
    import pandas

    from teknav_ops.workbench.bench import Workbench

_HOUR: Final = timedelta(hours=1)


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """One queue: arrivals, a job's time on threads (`mean_seconds`), and the threads. `hourly`: at and enqueued."""

    queue: str
    rate_per_second: float
    mean_seconds: float
    threads: int
    backlog_count: int
    hourly: pandas.DataFrame

    @property
    def words(self) -> str:
        """One line for a person."""
        if not self.threads:
            return f"no worker serves it now; {self.rate_per_second * 3600:,.0f} jobs came per hour"
        return estimate(**self.scenario_facts).words

    @property
    def scenario_facts(self) -> dict[str, Any]:
        """For `triage.forecast.scenarios` and `triage.capacity.estimate`; at least one thread is reckoned with."""
        return {
            "rate_per_second": self.rate_per_second, "mean_seconds": self.mean_seconds,
            "threads": max(1, self.threads), "backlog_count": self.backlog_count,
        }  # fmt: skip


def threads_of(queue: Queue, counts: QueueCounts, workers: list[WorkerProcess]) -> int:
    """Threads that may run this queue's jobs now: per living process at most its concurrency, over all its global one.

    Limits are those in force, which an operator may have changed. A process that does not say how many threads it has
    counts with the queue's concurrency.
    """
    concurrency = counts.concurrency or queue.concurrency
    global_concurrency = counts.global_concurrency or queue.global_concurrency
    serving = [worker for worker in workers if worker.is_alive and queue.name in worker.queues]
    threads = sum(min(concurrency, worker.thread_count or concurrency) for worker in serving)
    return threads if global_concurrency is None else min(threads, global_concurrency)


def loads_of(bench: Workbench, *, since: datetime, until: datetime) -> dict[str, Load]:
    """Every queue's load over the window, by name: one question for each kind of fact, whatever the number of queues.

    A paused queue's backlog counts: it is work that waits for threads.
    """
    counts = questions.run_counts(bench.snapshot, width=_HOUR, since=since, until=until, outcome="any")
    totals = questions.totals(bench.snapshot, since=since, until=until)
    firsts = dict(zip(totals["queue"], totals["first_at"], strict=True))
    now, workers = bench.jobs.all_counts(), WorkerQueries(bench.client, bench.topology).all()
    return {
        name: _load(name, counts[counts["queue"] == name],
                    # From the first entry on: a young system was not idle before it began.
                    max(since, firsts.get(name, since)), until,
                    threads=threads_of(queue, now[name], workers), backlog_count=now[name].waiting)
        for name, queue in bench.topology.items()
    }  # fmt: skip


def _load(
    queue: str, counts: pandas.DataFrame, begun: datetime, until: datetime, *, threads: int, backlog_count: int
) -> Load:
    return Load(
        queue=queue,
        rate_per_second=float(counts["enqueued"].sum()) / max(1.0, (until - begun).total_seconds()),
        mean_seconds=thread_seconds_per_job(counts), threads=threads, backlog_count=backlog_count,
        hourly=hourly_arrivals(counts, since=begun, until=until),
    )  # fmt: skip


def thread_seconds_per_job(counts: pandas.DataFrame) -> float:
    """A job's time on threads, its retried runs included: what arrivals must be multiplied with.

    `counts` as of the question run_counts with `outcome="any"`. Where no job ended yet it is a run's mean; 0 where
    none ran.
    """
    spent_seconds = float(counts["duration_sum_ms"].sum()) / 1000
    ended = int(counts["completed"].sum() + counts["failed"].sum())
    jobs = ended or int(counts["runs"].sum())
    return spent_seconds / jobs if jobs else 0.0


def capacity(loads: Mapping[str, Load]) -> pandas.DataFrame:
    """One row per queue: arrivals, time per job, threads, utilisation, backlog and how long it takes, threads needed.

    The busiest hour's need is beside it: means hide peaks. Threads are shared between queues, so they do not add up.
    """
    import pandas as pd

    rows = [_row(load) for load in loads.values()]
    return pd.DataFrame(rows).sort_values("utilisation", ascending=False, ignore_index=True)


def _row(load: Load) -> dict[str, Any]:
    found = estimate(**load.scenario_facts)
    busiest_hour = float(load.hourly["enqueued"].max()) / 3600 if len(load.hourly) else 0.0
    peak = max(busiest_hour, load.rate_per_second)
    at_peak = estimate(**{**load.scenario_facts, "rate_per_second": peak})
    return {
        "queue": load.queue, "per_hour": load.rate_per_second * 3600, "peak_per_hour": peak * 3600,
        "mean_seconds": load.mean_seconds, "threads": load.threads, "busy_threads": found.busy_threads,
        "utilisation": found.busy_threads / load.threads if load.threads else None, "backlog": load.backlog_count,
        "drain_seconds": found.drain_seconds if load.threads else None, "needed_threads": found.needed_threads,
        "needed_at_peak": at_peak.needed_threads,
    }  # fmt: skip
