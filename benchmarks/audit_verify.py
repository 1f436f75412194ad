"""What verifying the audit trail costs at size: SQLite, PostgreSQL and an export, against only reading the same rows.

`python -m benchmarks.audit_verify [rows] [sqlite|postgresql …]`. Rows are made by the database itself, and sealed by
the product's own sealer. CPU seconds are those of this process (PostgreSQL's server works besides); on a machine that
others use, read these. What 10 million rows would take is extrapolated, unless there are as many.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.export import ExportSource, write_export
from teknav_ops.audit.chain.lines import read_lines
from teknav_ops.audit.chain.links import LinkKeys, newest_link
from teknav_ops.audit.chain.sealer import BLOCK_ROWS, AuditSealer
from teknav_ops.audit.chain.verify import verify
from teknav_ops.storage.database import Database
from tests.support.databases import migrated_url
from tests.support.folders import new_folder, remove_folder

ROWS: Final = 1_000_000
_KEYS: Final = LinkKeys([b"k" * 32])
_COLUMNS: Final = (
    "at, action, actor, queue, stream_id, job_id, job_name, attempt, delivery, duration_ms, waited_ms, trace_id, detail"
)
#: What a job leaves: every other row its acceptance, the other its completion.
_VALUES: Final = """
    {at}, case n % 2 when 0 then 'job.enqueued' else 'job.completed' end, 'host-7:4711', 'email:send',
    {n} || '-' || (n % 3), '0199{n}-0000-7000-8000-000000000000', 'send-email', 1, 1, n % 977 * 0.37, n % 311 * 1.9,
    'a3ce929d0e0e4736b00f067aa0ba902b', case n % 50 when 0 then '{{"text": "gateway said 503"}}' else null end{as_json}
"""
_SQLITE: Final = f"""
    with recursive numbers(n) as (select 1 union all select n + 1 from numbers where n < :rows)
    insert into audit_log ({_COLUMNS}) select {
    _VALUES.format(at="strftime('%Y-%m-%d %H:%M:%f000', 1790000000 + n / 100, 'unixepoch')", n="n", as_json="")
} from numbers
"""
_POSTGRESQL: Final = f"""
    insert into audit_log ({_COLUMNS}) select {
    _VALUES.format(at="to_timestamp(1790000000 + n / 100)", n="n", as_json="::json")
} from generate_series(1, :rows) n
"""


def report(kind: str, rows: int) -> None:
    """One table: CPU and wall seconds of each way, and how many times the reading alone it costs."""
    folder = new_folder()
    try:
        with migrated_url(kind, folder) as url:
            database = Database.open(url)
            _make(database, rows)
            _table(kind, rows, database, folder)
            database.dispose()
    finally:
        remove_folder(folder)


def _make(database: Database, rows: int) -> None:
    began = time.monotonic()
    with database.session() as session:
        session.execute(text(_SQLITE if database.is_sqlite else _POSTGRESQL), {"rows": rows})
    sealer = AuditSealer(database, _KEYS, every_seconds=0)
    for first in range(0, rows, 100 * BLOCK_ROWS):
        with database.session() as session:
            for _ in range(min(100, -(-(rows - first) // BLOCK_ROWS))):
                sealer._seal(session, newest_link(session), rows)
    print(f"{rows:,} rows made and sealed in {time.monotonic() - began:.0f} s", file=sys.stderr)


def _table(kind: str, rows: int, database: Database, folder: Path) -> None:
    def reading() -> None:
        with source_of(database) as source:
            for first in range(0, rows, 60_000):
                for _ in read_lines(source.session, first, first + 60_000):
                    pass

    def verifying() -> None:
        with source_of(database) as source:
            _expect(verify(source, _KEYS), rows)

    file = folder / "export.gz"

    def exporting() -> None:
        with source_of(database) as source:
            write_export(source.session, file)

    def verifying_export() -> None:
        _expect(verify(ExportSource(file), _KEYS), rows)

    read = _cost(reading)
    columns = ("CPU s", "wall s", "× reading", "rows per CPU s", "10 M rows would take, CPU s")
    print(f"\n| {kind}, {rows:,} rows | {' | '.join(columns)} |\n| --- |{' --: |' * len(columns)}")
    ways = (("reading only", None), ("verify", verifying), ("export", exporting), ("verify --from", verifying_export))
    for name, way in ways:
        cpu, wall = read if way is None else _cost(way)
        told = (f"{cpu:.1f}", f"{wall:.1f}", f"{cpu / read[0]:.2f}", f"{rows / cpu:,.0f}", f"{cpu * 1e7 / rows:.0f}")
        print(f"| {name} | {' | '.join(told)} |", flush=True)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\nThe process held {most:,.0f} MB at most, its making of the rows included.", flush=True)


def _expect(found: Any, rows: int) -> None:
    assert found.is_intact and found.row_count == rows, found


def _cost(work: Callable[[], None]) -> tuple[float, float]:
    began = _cpu(), time.monotonic()
    work()
    return _cpu() - began[0], time.monotonic() - began[1]


def _cpu() -> float:
    """Of this process and those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    wanted = [each for each in arguments if not each.isdigit()] or ["sqlite", "postgresql"]
    for each in wanted:
        report(each, next((int(number) for number in arguments if number.isdigit()), ROWS))
