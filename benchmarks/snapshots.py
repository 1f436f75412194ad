"""`python -m benchmarks.snapshots [rows]`: questions over a large snapshot, first loads, small exports beside readers.

Rows are made inside the databases. Questions are asked warm, the median of five; `rows` (10,000,000) is the size of
that snapshot. First loads are of a tenth of it, from SQLite and from PostgreSQL.
"""

from __future__ import annotations

import functools
import multiprocessing
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from teknav_ops.snapshots import load, questions
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.open import Snapshot, open_snapshot
from teknav_ops.snapshots.publish import publish
from teknav_ops.snapshots.work import open_work_file
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from tests.support.databases import fresh_url

DAYS = 30
END = datetime(2026, 11, 1, tzinfo=UTC)
START = END - timedelta(days=DAYS)
ROUNDS = 5

#: Of a hundred rows, 48 are enqueued, 48 completed, and the rest failures; twelve queues, a thousand traces' ids each.
_SNAPSHOT_ROWS = """
insert into audit
select
    i, make_timestamptz(($start_us + i * $width_us)::bigint), action, 'queue:' || queue, 'job' || queue, uuid(), null,
    1,
    case when action <> 'job.enqueued' then exp(random() * 8)::float end,
    case when action <> 'job.enqueued' then (random() * 500)::float end,
    case when failed then 'Error' || hash(i) % 20 end,
    case when failed then substr(md5((hash(i) % 200)::varchar), 1, 16) end,
    case when failed then 'host number ' || i % 5000 || ' did not answer in time: ' || repeat('x', 60) end,
    case when failed or action = 'job.enqueued' then uuid() end,
    'host' || hash(i) % 4 || ':' || hash(i) % 40, null, null
from (
    select
        i, hash(i + 7) % 12 as queue, hash(i * 31) % 100 as share, share >= 96 as failed,
        case when share < 48 then 'job.enqueued' when share < 96 then 'job.completed' when share < 98 then 'job.retried'
            when share < 99 then 'job.failed' else 'dlq.added' end as action
    from range(1, $count + 1) as row(i)
)
order by i
"""

_SHARED = """
insert into audit_log (at, action, queue, job_id, job_name, actor, attempt, duration_ms, waited_ms, error_type,
    fingerprint, trace_id, detail)
select
    {at}, case when n % 25 = 0 then 'job.failed' when n % 2 = 0 then 'job.enqueued' else 'job.completed' end,
    'queue:' || n % 12, {job_id}, 'job' || n % 12, 'host:' || n % 40, 1, n % 977 * 1.5, n % 499,
    case when n % 25 = 0 then 'Error' || n % 20 end, case when n % 25 = 0 then 'fp' || n % 200 end, {trace},
    case when n % 25 = 0 then '{{"text": "host did not answer in time"}}'{json} end
from {numbers}
"""


def fill(database: Database, count: int, *, first: int = 1) -> None:
    """So many rows, evenly over the thirty days."""
    last = first + count - 1
    if database.is_sqlite:
        hexes = "lower(hex(randomblob({}))"
        job_id = " || '-' || ".join(hexes.format(size) + ")" for size in (4, 2, 2, 2, 6))
        sql = _SHARED.format(
            at="strftime('%Y-%m-%d %H:%M:%S', 1759276800 + n % 2592000, 'unixepoch') || '.000000'", job_id=job_id,
            trace="lower(hex(randomblob(16)))", json="", numbers="number",
        )  # fmt: skip
        counter = f"with recursive number(n) as (select {first} union all select n + 1 from number where n < {last}) "
        sql = sql.replace("\nselect", f"\n{counter}select", 1)
    else:
        sql = _SHARED.format(
            at="timestamptz '2025-10-01 00:00:00+00' + (n % 2592000) * interval '1 second'",
            job_id="gen_random_uuid()::text", trace="md5(random()::text)", json="::json",
            numbers=f"generate_series({first}, {last}) as numbers(n)",
        )  # fmt: skip
    with database.session() as session:
        session.connection().exec_driver_sql(sql.replace("%", "%%") if not database.is_sqlite else sql)


def large_snapshot(folder: Path, count: int, queues: Sequence[str] = ()) -> Path:
    """A published snapshot of so many rows, in the real schema; the twelve queues may be named."""
    target = SnapshotFolder(folder)
    target.prepare()
    begun = time.perf_counter()
    with open_work_file(target.work_file) as work:
        width_us = timedelta(days=DAYS) / timedelta(microseconds=1) / count
        parameters = {"start_us": int(START.timestamp() * 1e6), "width_us": width_us, "count": count}
        work._connection.execute(_SNAPSHOT_ROWS, parameters)
        for number, name in enumerate(queues):
            work._connection.execute("update audit set queue = $1 where queue = $2", [name, f"queue:{number}"])
        work._connection.execute("update snapshot_meta set row_count = $1, exported_at = $2", [count, END])
    made = time.perf_counter()
    path = publish(target)
    print(
        f"snapshot of {count:,} rows: {path.stat().st_size / 1e6:,.0f} MB, rows made in {made - begun:.1f} s, "
        f"published in {time.perf_counter() - made:.2f} s"
    )
    return path


def ask_everything(snapshot: Snapshot) -> None:
    """Each question over the thirty days, and some over less."""
    job, trace = (
        snapshot.cursor()
        .execute(f"select {column}::varchar from audit where {column} is not null limit 1")
        .fetchone()[0]
        for column in ("job_id", "trace_id")
    )
    window = {"since": START, "until": END}
    asked: dict[str, Callable[[], Any]] = {
        "p95_by_time, 30 days of 5 minutes": lambda: questions.p95_by_time(snapshot, **window),
        "p95_by_time, one queue": lambda: questions.p95_by_time(snapshot, queues="queue:3", **window),
        "p95_by_time, one day": lambda: questions.p95_by_time(snapshot, since=END - timedelta(days=1)),
        "duration_sketch, one queue, hours": lambda: questions.duration_sketch(
            snapshot, queues="queue:3", width=timedelta(hours=1), **window
        ),
        "ai_costs": lambda: questions.ai_costs(snapshot),
        "job_story, by job": lambda: questions.job_story(snapshot, job_id=job),
        "job_story, by trace": lambda: questions.job_story(snapshot, trace_id=trace.replace("-", "")),
    }
    for name in questions.__all__:
        if not any(title.startswith(name) for title in asked):
            asked[name] = functools.partial(getattr(questions, name), snapshot, **window)
    print(f"\n| question | rows | ms (median of {ROUNDS}) |\n| --- | --: | --: |")
    for title, ask in asked.items():
        seconds, answer = [], None
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            answer = ask()
            seconds.append(time.perf_counter() - begun)
        print(f"| {title} | {len(answer):,} | {statistics.median(seconds) * 1000:,.0f} |", flush=True)  # type: ignore[arg-type]


def first_loads(count: int) -> None:
    """A whole table, through either driver, from either database."""
    print(f"\n| first load of {count:,} rows | s |\n| --- | --: |")
    for kind in ("sqlite", "postgresql"):
        with filled(kind, count) as (database, folder):
            for driver, least in (("ADBC", 0), ("SQLAlchemy", 10**12)):
                load.LARGE_LOAD_COUNT = least  # type: ignore[misc]
                done = Exporter(database, folder / driver, retention_days=10_000).export()
                assert done.row_count == count
                print(f"| {kind}, {driver} | {done.seconds:.1f} |", flush=True)
    load.LARGE_LOAD_COUNT = 50_000  # type: ignore[misc]


@contextmanager
def filled(kind: str, count: int) -> Iterator[tuple[Database, Path]]:
    """A database with so many rows, and a folder."""
    folder = Path(tempfile.mkdtemp(prefix="teknav-bench-"))
    with fresh_url(kind, folder) as url:
        upgrade(url)
        database = Database.open(url)
        fill(database, count)
        yield database, folder
        database.dispose()
    shutil.rmtree(folder, ignore_errors=True)


def small_exports(count: int) -> None:
    """Ten thousand new rows on top of `count`, while three processes ask without a pause."""
    context = multiprocessing.get_context("spawn")
    for kind in ("sqlite", "postgresql"):
        with filled(kind, count) as (database, folder):
            exporter = Exporter(database, folder / "snapshots", retention_days=10_000)
            exporter.export()
            stop, reads = context.Event(), context.Value("q", 0)
            readers = [context.Process(target=_read, args=(folder / "snapshots", stop, reads)) for _ in range(3)]
            for reader in readers:
                reader.start()
            while reads.value < 10:
                time.sleep(0.05)
            seconds = []
            for number in range(ROUNDS):
                fill(database, 10_000, first=count + number * 10_000 + 1)
                done = exporter.export()
                assert done.added == 10_000 and done.path
                seconds.append(done.seconds)
            stop.set()
            for reader in readers:
                reader.join()
                assert reader.exitcode == 0
            print(
                f"snapshot of 10,000 new rows on {count:,} ({kind}), three readers querying: median "
                f"{statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s; {reads.value:,} reads meanwhile"
            )


def _read(folder: Path, stop: Any, reads: Any) -> None:
    while not stop.is_set():
        with open_snapshot(folder) as snapshot:
            questions.p95_by_time(snapshot, width=timedelta(hours=1))
        with reads.get_lock():
            reads.value += 1


def main() -> None:
    """Run all."""
    count = int(sys.argv[1].replace("_", "").replace(",", "")) if len(sys.argv) > 1 else 10_000_000
    folder = Path(tempfile.mkdtemp(prefix="teknav-bench-"))
    try:
        large_snapshot(folder, count)
        with open_snapshot(folder) as snapshot:
            ask_everything(snapshot)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    first_loads(max(1_000, count // 10))
    print()
    small_exports(max(1_000, count // 10))


if __name__ == "__main__":
    main()
