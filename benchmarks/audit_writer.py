"""How much faster AuditLog takes entries than the engine makes them, into SQLite and into PostgreSQL.

`python -m benchmarks.audit_writer [jobs]` runs it alone.
"""

from __future__ import annotations

import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from benchmarks.orders import TOPOLOGY
from benchmarks.systems import OURS, rate
from teknav_ops.audit.writer import AuditWriter
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from tests.support.databases import fresh_url
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer

ROUNDS = 3
JOBS = 60_000
KINDS = ("sqlite", "postgresql")
_STREAM = QueueKeys("bench:noop").audit
#: What a no-op job leaves: job.enqueued and job.completed.
_ENTRIES_PER_JOB = 2


def report(url: str, *, job_count: int = JOBS, rounds: int = ROUNDS) -> None:
    """The engine's rate and, on the entries it left, the writer's, in turns; medians and their ratio."""
    engine: list[float] = []
    writer: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}: audit writer", file=sys.stderr)
        engine.append(rate(dataclasses.replace(OURS, job_count=job_count), url)["jobs_per_second"])
        for kind in KINDS:
            with _left_as_it_was(url):
                writer[kind].append(_entries_per_second(url, kind))
    own = statistics.median(engine)
    print(f"\n| AuditLog in | entries/s | no-op jobs/s that makes | × the engine's own {own:,.0f} |")
    print("| --- | --: | --: | --: |")
    for kind, rates in writer.items():
        jobs = statistics.median(rates) / _ENTRIES_PER_JOB
        print(f"| {kind} | {jobs * _ENTRIES_PER_JOB:,.0f} | {jobs:,.0f} | {jobs / own:.2f} |")


@contextmanager
def _left_as_it_was(url: str) -> Iterator[None]:
    """Each database gets the same entries."""
    client = redis.Redis.from_url(url)
    kept = client.dump(_STREAM)
    yield
    client.restore(_STREAM, 0, kept, replace=True)


def _entries_per_second(url: str, kind: str) -> float:
    client = connect(url)
    entry_count = int(client.execute_command("XLEN", _STREAM))
    with tempfile.TemporaryDirectory() as folder, fresh_url(kind, Path(folder)) as database_url:
        upgrade(database_url)
        database = Database.open(database_url)
        writer = AuditWriter(client, database, TOPOLOGY)
        begun = time.perf_counter()
        moved = writer.drain()
        seconds = time.perf_counter() - begun
        database.dispose()
    assert moved == entry_count
    return entry_count / seconds


def main() -> None:
    """Run on a private server."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no", "--hash-max-listpack-value", "1024").start()
    os.environ["BENCH_REDIS_URL"] = server.url
    try:
        report(server.url, job_count=int(sys.argv[1]) if len(sys.argv) > 1 else JOBS)
    finally:
        server.stop()
        remove_folder(folder)


if __name__ == "__main__":
    main()
