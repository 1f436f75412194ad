"""`python -m benchmarks.notebooks [rows]`: every notebook as a report over a large snapshot, and what each asks of it.

The snapshot is that of `benchmarks.snapshots`, with the catalogue's queues; `rows` (10,000,000) is its size. Reports
are run in processes of their own, as `teknav report run` does; questions are asked warm, the median of three.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.snapshots import large_snapshot
from teknav_ops.reports.desk import ReportDesk
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from teknav_ops.topology import TOPOLOGY
from teknav_ops.workbench import Workbench
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer

ROUNDS = 3
#: Limits are not what is measured.
PARAMETERS: dict[str, dict[str, Any]] = {
    "queue_health": {"error_rate_limit": 1}, "p95_durations": {"p95_limit_ms": 1e12},
    "incident_review": {"given_up_limit": 10**9}, "slo_report": {"budget_limit": 1e9},
    "capacity_forecast": {"utilisation_limit": 1e9}, "ai_costs": {},
}  # fmt: skip


def questions_of(bench: Workbench) -> dict[str, Callable[[], Any]]:
    """What the notebooks ask, with their standard windows."""
    day, week, month = (bench.last(hours=hours) for hours in (24, 168, 336))
    two_hours = bench.last(hours=2)
    return {
        "run_summary, a day": lambda: bench.run_summary(**day),
        "p95_by_time, a day": lambda: bench.p95_by_time(**day, width=bench.width(hours=24)),
        "p95_by_time, a week": lambda: bench.p95_by_time(**week, width=bench.width(hours=168)),
        "error_types_over_time, a day": lambda: bench.error_types_over_time(**day, width=bench.width(hours=24)),
        "compare_windows, a day against a week": lambda: bench.compare_windows(
            "media:optimize", hours=24, baseline_hours=168
        ),
        "slowest_jobs, a day": lambda: bench.slowest_jobs(**day),
        "incident, two hours": lambda: bench.incident(**two_hours),
        "objectives_kept, a week": lambda: bench.objectives_kept(**week),
        "budgets_burning": bench.budgets_burning,
        "worst_days, a week": lambda: bench.worst_days(**week),
        "dlq_flow, a week": lambda: bench.dlq_flow(**week, width=bench.width(hours=168)),
        "retries_per_success, a week": lambda: bench.retries_per_success(**week),
        "capacity of all queues, two weeks": lambda: bench.capacity(bench.loads(**month)),
    }


def main() -> None:
    """Print both tables."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    redis_folder = new_folder()
    server = RedisServer(redis_folder, "--appendonly", "no").start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _measure(Path(folder), server, count)
    finally:
        server.stop()
        remove_folder(redis_folder)


def _measure(folder: Path, server: RedisServer, count: int) -> None:
    os.environ |= {"TEKNAV_DATA_DIR": str(folder), "TEKNAV_REDIS_URL": server.url}
    settings = Settings()
    upgrade(settings.sql_url)
    large_snapshot(settings.snapshot_root, count, queues=list(TOPOLOGY))
    bench = Workbench(settings)
    print(f"{count:,} rows\n\n| question | seconds |\n| --- | ---: |")
    for name, ask in questions_of(bench).items():
        print(f"| {name} | {_seconds(ask):.2f} |", flush=True)
    database = Database.open(settings.sql_url)
    desk = ReportDesk(settings, database)
    print("\n| report | seconds | status |\n| --- | ---: | --- |")
    for name, parameters in PARAMETERS.items():
        meta = desk.run(name, parameters, who="benchmark")
        print(f"| {name} | {meta.seconds:.1f} | {meta.status} {meta.error} |", flush=True)


def _seconds(ask: Callable[[], Any]) -> float:
    ask()
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
