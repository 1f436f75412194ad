"""Load and threads of each queue, from the snapshot and the workers alive now, for `capacity_forecast`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from teknav_ops.jobs.worker_queries import WorkerProcess, WorkerQueries
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
    """One queue: arrivals, durations, and the threads there are. `hourly` has at and enqueued."""

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


def threads_of(queue: Queue, workers: list[WorkerProcess]) -> int:
    """Threads that may run this queue's jobs now: per living process at most its concurrency, over all its global one.

    A process that does not say how many threads it has counts with the queue's concurrency.
    """
    serving = [worker for worker in workers if worker.is_alive and queue.name in worker.queues]
    threads = sum(min(queue.concurrency, worker.thread_count or queue.concurrency) for worker in serving)
    return threads if queue.global_concurrency is None else min(threads, queue.global_concurrency)


def load_of(bench: Workbench, queue: str, *, since: datetime, until: datetime) -> Load:
    """One queue's load over the window. Raises UnknownQueue."""
    return _loads(bench, [bench.topology[queue]], since, until)[queue]


def capacity(bench: Workbench, *, since: datetime, until: datetime) -> pandas.DataFrame:
    """One row per queue: arrivals, mean duration, threads, utilisation, backlog and how long it takes, threads needed.

    The busiest hour's need is beside it: means hide peaks. Threads are shared between queues, so they do not add up.
    """
    import pandas as pd

    loads = _loads(bench, list(bench.topology.values()), since, until)
    rows = [_row(load) for load in loads.values()]
    return pd.DataFrame(rows).sort_values("utilisation", ascending=False, ignore_index=True)


def _loads(bench: Workbench, queues: list[Queue], since: datetime, until: datetime) -> Mapping[str, Load]:
    names = [queue.name for queue in queues]
    counts = questions.run_counts(bench.snapshot, queues=names, width=_HOUR, since=since, until=until)
    totals = questions.totals(bench.snapshot, queues=names, since=since, until=until)
    firsts = dict(zip(totals["queue"], totals["first_at"], strict=True))
    stats, workers = bench.queue_stats(), WorkerQueries(bench.client, bench.topology).all()
    return {
        queue.name: _load(queue, counts[counts["queue"] == queue.name],
                          # From the first entry on: a young system was not idle before it began.
                          max(since, firsts.get(queue.name, since)), until,
                          threads=threads_of(queue, workers),
                          backlog_count=stats[queue.name].waiting if queue.name in stats else 0)
        for queue in queues
    }  # fmt: skip


def _load(
    queue: Queue, counts: pandas.DataFrame, begun: datetime, until: datetime, *, threads: int, backlog_count: int
) -> Load:
    runs = int(counts["runs"].sum())
    return Load(
        queue=queue.name,
        rate_per_second=float(counts["enqueued"].sum()) / max(1.0, (until - begun).total_seconds()),
        mean_seconds=float(counts["duration_sum_ms"].sum()) / runs / 1000 if runs else 0.0,
        threads=threads, backlog_count=backlog_count,
        hourly=hourly_arrivals(counts, since=begun, until=until),
    )  # fmt: skip


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
