"""What a snapshot is made anew for, what leaves it, and how its file is kept small."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from sqlalchemy import delete, insert, text

from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.retention import AuditRetention
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.open import open_file, open_snapshot
from teknav_ops.snapshots.schema import SCHEMA_VERSION
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.snapshots.rows import NOON, after, damage_column, rows_in, run, store
from tests.support.tampering import without_guard


def test_another_schema_version_is_rebuilt_and_not_read(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    with duckdb.connect(str(folder / "work/audit.work.duckdb")) as connection:
        connection.execute(f"update snapshot_meta set schema_version = {SCHEMA_VERSION + 1}")
        connection.execute("alter table snapshot_meta drop column kept_from")
        connection.execute("drop table ai_run")

    rebuilt = exporter.export()

    assert (rebuilt.added, rebuilt.row_count) == (5, 5) and rebuilt.path == folder / "audit-00000002.duckdb"
    assert len(rows_in(folder)) == 5


@pytest.mark.parametrize("damage", [b"", b"no database", b"\0" * 100_000])
def test_a_damaged_work_file_is_made_anew(sqlite_database: Database, folder: Path, damage: bytes) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    (folder / "work/audit.work.duckdb").write_bytes(damage)

    assert exporter.export().row_count == 5
    assert len(rows_in(folder)) == 5


def torn(content: bytes) -> bytes:
    return content[: len(content) // 2]


def without_its_rows(content: bytes) -> bytes:
    """It opens, and what it says of itself can be read; its other blocks cannot."""
    blocks = range(12_288, len(content), 262_144)
    return content[: blocks[0]] + b"".join(
        content[at : at + 262_144] if b"edition" in content[at : at + 262_144] else b"\x5a" * 262_144 for at in blocks
    )


@pytest.mark.parametrize("damage", [torn, without_its_rows])
def test_a_work_file_that_opens_though_it_is_damaged_is_made_anew(
    sqlite_database: Database, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    store(sqlite_database, [run(after(seconds=number), 1.0) for number in range(3_000)])
    Exporter(sqlite_database, folder).export()
    work_file = folder / "work/audit.work.duckdb"
    work_file.write_bytes(damage(work_file.read_bytes()))
    store(sqlite_database, [run(after(days=1), 1.0)])

    assert Exporter(sqlite_database, folder).export().row_count == 3_001
    assert len(rows_in(folder)) == 3_001


def test_a_block_that_exports_never_read_is_not_published_damaged_but_made_anew(
    sqlite_database: Database, folder: Path
) -> None:
    # Of so many, the ids, which cannot be compressed, have a block of their own.
    store(sqlite_database, [run(after(seconds=number), 1.0) for number in range(17_000)])
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    damage_column(folder / "work/audit.work.duckdb", "job_id")
    store(sqlite_database, [run(after(days=1), 1.0)])

    assert exporter.export().path == folder / "audit-00000002.duckdb"
    assert not list(folder.glob(".tmp-*"))
    for number, count in ((1, 17_000), (2, 17_001)):
        with open_file(folder / f"audit-{number:08d}.duckdb") as snapshot:
            assert snapshot.cursor().execute("select count(distinct job_id) from audit").fetchone()[0] == count


def test_a_damaged_snapshot_is_followed_by_a_good_one(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    newest = exporter.export().path
    assert newest is not None
    newest.write_bytes(b"torn")

    assert Exporter(sqlite_database, folder).export().path == folder / "audit-00000002.duckdb"
    assert len(rows_in(folder)) == 5


@pytest.mark.each_database
def test_a_database_that_was_replaced_is_noticed(database: Database, folder: Path) -> None:
    store(database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(database, folder)
    exporter.export()
    with without_guard(database), database.session() as session:
        session.execute(delete(AuditLog))
        session.execute(insert(AuditLog).values(id=5, at=after(days=1), action="of another life"))

    exporter.export()

    assert rows_in(folder) == [(5, "of another life")]


def test_rows_that_are_pruned_in_sql_stay_and_new_ones_come(database: Database, folder: Path) -> None:
    store(database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(database, folder)
    exporter.export()
    with without_guard(database), database.session() as session:
        session.execute(delete(AuditLog))
    assert exporter.export().path is None
    store(database, [run(NOON, 1.0)])

    assert exporter.export().added == 1
    assert [row[0] for row in rows_in(folder)] == [1, 2, 3, 4, 5, 6]


_KEYS = LinkKeys([b"k" * 32])


def rows_that_grow_old(database: Database) -> list[datetime.datetime]:
    """Rows of 31, 31, 3 and 0 days ago, sealed; answers when they happened."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    moments = [now - datetime.timedelta(days=days) for days in (31, 31, 3, 0)]
    for chunk in (moments[:2], moments[2:]):
        store(database, [run(at, 1.0) for at in chunk])
        AuditSealer(database, _KEYS, every_seconds=0).step()
    return moments


def prune(database: Database, kept_days: int) -> None:
    retention = AuditRetention(database, _KEYS, keep_days=kept_days)
    while retention.step():
        pass


def lose(work_file: Path) -> None:
    work_file.unlink()


def empty(work_file: Path) -> None:
    work_file.write_bytes(b"")


@pytest.mark.each_database
@pytest.mark.parametrize("harm", [lose, empty])
def test_a_work_file_that_is_made_anew_keeps_what_sql_has_pruned(
    database: Database, folder: Path, harm: Callable[[Path], None]
) -> None:
    moments = rows_that_grow_old(database)
    Exporter(database, folder).export()
    prune(database, 30)
    harm(folder / "work/audit.work.duckdb")
    assert Exporter(database, folder).export().path is None
    store(database, [run(moments[-1], 1.0)])

    done = Exporter(database, folder).export()

    assert (done.added, done.row_count) == (1, 5)
    assert [row[0] for row in rows_in(folder)] == [1, 2, 3, 4, 5]


def test_a_damaged_block_loses_nothing_that_sql_has_pruned(sqlite_database: Database, folder: Path) -> None:
    # Of so many, the ids, which cannot be compressed, have a block of their own.
    now = datetime.datetime.now(datetime.UTC)
    store(sqlite_database, [run(now - datetime.timedelta(days=31), 1.0) for _ in range(17_000)])
    AuditSealer(sqlite_database, _KEYS, every_seconds=0).step()
    store(sqlite_database, [run(now, 1.0)])
    Exporter(sqlite_database, folder).export()
    prune(sqlite_database, 30)
    damage_column(folder / "work/audit.work.duckdb", "job_id")
    store(sqlite_database, [run(now, 1.0)])

    assert Exporter(sqlite_database, folder).export().row_count == 17_002


def test_without_a_sound_snapshot_it_is_made_from_sql_and_says_since_when_it_holds_all(
    sqlite_database: Database, folder: Path
) -> None:
    moments = rows_that_grow_old(sqlite_database)
    newest = Exporter(sqlite_database, folder).export().path
    assert newest is not None
    with open_snapshot(folder) as snapshot:
        assert snapshot.meta.kept_from < moments[0]
    prune(sqlite_database, 30)
    (folder / "work/audit.work.duckdb").unlink()
    newest.write_bytes(newest.read_bytes()[:-100])

    Exporter(sqlite_database, folder).export()

    assert [row[0] for row in rows_in(folder)] == [3, 4]
    with open_snapshot(folder) as snapshot:
        assert snapshot.meta.kept_from == moments[2]


def test_a_rebuild_takes_nothing_from_the_newest_snapshot(sqlite_database: Database, folder: Path) -> None:
    rows_that_grow_old(sqlite_database)
    Exporter(sqlite_database, folder).export()
    prune(sqlite_database, 30)

    Exporter(sqlite_database, folder).export(rebuild=True)

    assert [row[0] for row in rows_in(folder)] == [3, 4]


def test_rebuild_drops_what_was_erased_in_sql(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    with without_guard(sqlite_database), sqlite_database.session() as session:
        session.execute(delete(AuditLog).where(AuditLog.id == 3))

    exporter.export(rebuild=True)

    assert [row[0] for row in rows_in(folder)] == [1, 2, 4, 5]


def test_days_beyond_the_retention_leave_and_never_come_in(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(after(days=day), 1.0) for day in range(10)])
    exporter = Exporter(sqlite_database, folder, retention_days=3)
    first = exporter.export()
    assert [row[0] for row in rows_in(folder)] == [7, 8, 9, 10] and first.added == 4

    store(sqlite_database, [run(after(days=11), 1.0)])
    second = exporter.export()

    assert [row[0] for row in rows_in(folder)] == [9, 10, 11] and second.forgotten == 2
    with open_snapshot(folder) as snapshot:
        assert snapshot.meta.kept_from == after(days=8, hours=-12)


def test_a_clock_that_runs_ahead_does_not_empty_the_snapshot(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 3)
    exporter = Exporter(sqlite_database, folder, retention_days=3)
    exporter.export()
    from teknav_ops.snapshots import export

    class FarFuture(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime(2099, 1, 1, tzinfo=tz)

    monkeypatch.setattr(export, "datetime", FarFuture)
    store(sqlite_database, [run(NOON, 1.0)])
    exporter.export()

    assert len(rows_in(folder)) == 4


#: Half of them nine days after the others, with ids that do not compress.
_MANY_ROWS = text("""
    with recursive number(n) as (select 1 union all select n + 1 from number where n < :count)
    insert into audit_log (at, action, job_id)
    select
        case when n <= :count / 2 then '2024-11-20' else '2024-11-29' end || ' 12:00:00.000000',
        'job.completed',
        lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-' || hex(randomblob(2)) || '-'
            || hex(randomblob(2)) || '-' || hex(randomblob(6)))
    from number
""")


def test_a_file_full_of_holes_is_compacted(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from teknav_ops.snapshots import work

    monkeypatch.setattr(work, "_COMPACTED_LEAST_BLOCKS", 8)
    with sqlite_database.session() as session:
        session.execute(_MANY_ROWS, {"count": 260_000})
    exporter = Exporter(sqlite_database, folder, retention_days=30)
    before = exporter.export().path
    assert before is not None

    after_days_passed = Exporter(sqlite_database, folder, retention_days=3).export()

    assert after_days_passed.forgotten == 130_000 and after_days_passed.path is not None
    assert after_days_passed.path.stat().st_size < before.stat().st_size * 0.7
    assert rows_in(folder, "select count(*), min(id) from audit") == [(130_000, 130_001)]
    assert {path.name for path in (folder / "work").iterdir()} == {"audit.work.duckdb", "lock"}
    store(sqlite_database, [run(after(days=9), 1.0)])
    assert exporter.export().added == 1
