"""From AuditLog into a snapshot: everything, once, and nothing that is secret."""

from __future__ import annotations

import datetime
import itertools
import multiprocessing
import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from sqlalchemy import delete, func, insert, select, text, update

from teknav_ops.errors import SnapshotBusy, SnapshotDiskFull
from teknav_ops.snapshots import load, source
from teknav_ops.snapshots.export import Exported, Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.open import open_snapshot
from teknav_ops.snapshots.schema import SCHEMA_VERSION
from teknav_ops.snapshots.work import open_work_file
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AiRun, AuditLog
from tests.snapshots.rows import NOON, after, ai_run, event, failure, run, store, store_ai


def rows_in(folder: Path, sql: str = "select id, action from audit order by id") -> list[Any]:
    with open_snapshot(folder) as snapshot:
        assert snapshot.meta.row_count == snapshot.cursor().execute("select count(*) from audit").fetchone()[0]
        return snapshot.cursor().execute(sql).fetchall()


def test_rows_arrive_as_they_are(database: Database, folder: Path) -> None:
    job_id, trace_id = str(uuid.uuid4()), uuid.uuid4().hex
    moment = datetime.datetime(2024, 11, 19, 23, 59, 59, 999_999, tzinfo=datetime.UTC)
    failed = failure(moment, job_id=job_id, trace_id=trace_id, attempt=3, duration_ms=2.5, waited_ms=0.0)
    store(database, [failed, run(NOON, 1.0, job_id="JOB-1", attempt=None), event(NOON, "user.added", queue=None)])

    Exporter(database, folder).export()

    first, second, third = rows_in(folder, "from audit order by id")
    assert first[1:] == (
        moment, "job.failed", "mail", "send", uuid.UUID(job_id), None, 3, 2.5, 0.0, "ValueError", "f-ValueError",
        "ValueError happened", uuid.UUID(trace_id), "w:1", None, None,
    )  # fmt: skip
    assert second[5:9] == (None, "JOB-1", None, 1.0) and second[13] is None, "a trace is where a job begins and fails"
    assert third[3:] == (None,) * 14


@pytest.mark.parametrize("job_id", ["0B8A2A0E-3B0B-4C57-A0A5-0F6D40AD9F4B", "0b8a2a0e3b0b4c57a0a50f6d40ad9f4b", "x"])
def test_an_id_that_would_not_come_back_the_same_is_kept_as_text(
    sqlite_database: Database, folder: Path, job_id: str
) -> None:
    store(sqlite_database, [run(NOON, 1.0, job_id=job_id)])
    Exporter(sqlite_database, folder).export()
    assert rows_in(folder, "select job_id, other_job_id from audit") == [(None, job_id)]


def test_nothing_secret_is_exported(database: Database, folder: Path) -> None:
    secret = {"text": "payload before the edit: hunter2", "url": "hunter2", "payload": "hunter2", "comment": "hunter2"}
    store(
        database,
        [
            event(NOON, "job.replayed", detail=secret),
            event(NOON, "job.cancelled", detail=secret),
            event(NOON, "webhook.added", outcome="done", actor="sara", detail={**secret, "text": "x"}),
        ],
    )
    Exporter(database, folder).export()

    assert b"hunter2" not in next(folder.glob("audit-*.duckdb")).read_bytes()
    assert rows_in(folder, "select detail from audit order by id") == [(None,), (None,), ('{"text": "x"}',)]


def test_a_message_that_is_no_proper_text_does_not_hold_up_the_others(database: Database, folder: Path) -> None:
    store(
        database,
        [failure(NOON, detail={"text": "null \x00, half \ud83d, " + "long " * 100}), failure(NOON, detail=None)],
    )
    Exporter(database, folder).export()
    assert rows_in(folder, "select error from audit order by id") == [
        (("null \ufffd, half ?, " + "long " * 100)[:200],),
        (None,),
    ]


def test_each_export_takes_what_is_new_and_publishes_only_then(database: Database, folder: Path) -> None:
    exporter = Exporter(database, folder)
    first = exporter.export()
    assert (first.added, first.path) == (0, folder / "audit-00000001.duckdb")

    assert exporter.export().path is None
    store(database, [run(NOON, 1.0)] * 3)
    second = exporter.export()
    store(database, [run(NOON, 1.0)] * 2)
    third = exporter.export()

    assert (second.added, third.added, third.row_count) == (3, 2, 5)
    assert third.path == folder / "audit-00000003.duckdb"
    assert exporter.export().path is None
    assert [row[0] for row in rows_in(folder)] == [1, 2, 3, 4, 5]


def test_what_was_open_when_it_was_exported_is_looked_at_again(database: Database, folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    store(database, [event(now, "dlq.purged", actor="sara", outcome="requested", detail={"deleted": 0})])
    store_ai(database, [ai_run(now, status="running", input_tokens=0, finished_at=None)])
    exporter = Exporter(database, folder)
    exporter.export()
    assert exporter.export().path is None

    with database.session() as session:
        session.execute(update(AuditLog).values(outcome="done", detail={"deleted": 7}))
        session.execute(update(AiRun).values(status="succeeded", input_tokens=9, finished_at=now))
    settled = exporter.export()

    assert (settled.added, settled.changed) == (0, 2)
    assert rows_in(folder, "select outcome, detail from audit") == [("done", '{"deleted": 7}')]
    assert rows_in(folder, "select status, input_tokens, finished_at from ai_run") == [("succeeded", 9, now)]
    assert exporter.export().path is None


@pytest.mark.parametrize("driver", ["adbc", "sqlalchemy"])
def test_large_loads_read_the_same_through_either_driver(
    database: Database, folder: Path, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nulls first: a driver that guesses types from the first rows must not guess wrong.
    plain = [event(NOON, "job.enqueued", queue=None)] * 2_000
    store(database, [*plain, *[failure(after(seconds=number), attempt=2) for number in range(500)]])
    monkeypatch.setattr(load, "LARGE_LOAD_COUNT", 0 if driver == "adbc" else 10**9)
    monkeypatch.setattr(source, "ADBC_CHUNK_IDS", 700)
    monkeypatch.setattr(source, "CHUNK_IDS", 700)
    used = []
    whole = source.Source.between
    monkeypatch.setattr(source.Source, "between", lambda self, *args: (used.append(self.driver), whole(self, *args))[1])
    told: list[tuple[int, int]] = []

    Exporter(database, folder).export(on_progress=lambda done, total: told.append((done, total)))

    assert set(used) == {driver} and told == [(700, 2_500), (1_400, 2_500), (2_100, 2_500), (2_500, 2_500)]
    counts = "select count(*), count(distinct id), count(attempt), sum(duration_ms), count(error) from audit"
    assert rows_in(folder, counts) == [(2_500, 2_500, 500, 2_500.0, 500)]


def test_an_export_that_ends_early_goes_on_where_it_was(
    sqlite_database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "CHUNK_IDS", 10)
    store(sqlite_database, [run(NOON, 1.0)] * 35)
    exporter, results = Exporter(sqlite_database, folder), []
    clock = itertools.count()
    monkeypatch.setattr(load.time, "monotonic", lambda: next(clock))

    while not results or results[-1].has_more:
        results.append(exporter.export(max_seconds=2))

    assert len(results) > 1 and sum(result.added for result in results) == 35
    assert [result.path for result in results[:-1]] == [None] * (len(results) - 1)
    assert [row[0] for row in rows_in(folder)] == list(range(1, 36))


# Ids that become visible out of their order -------------------------------------------------------


@contextmanager
def open_transaction(database: Database, action: str) -> Iterator[Any]:
    with database.engine.connect() as connection:
        connection.execute(insert(AuditLog).values(at=NOON, action=action))
        yield connection


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_row_that_is_committed_late_with_a_small_id_is_not_passed_over(database: Database, folder: Path) -> None:
    exporter = Exporter(database, folder, settle_seconds=0.2)
    with open_transaction(database, "early id, late commit") as slow:
        store(database, [event(NOON, "late id, early commit")])

        held_up = exporter.export()
        assert held_up.is_waiting and held_up.added == 0
        slow.commit()

    assert exporter.export().added == 2
    assert rows_in(folder) == [(1, "early id, late commit"), (2, "late id, early commit")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_id_of_a_transaction_that_is_rolled_back_is_not_waited_for(database: Database, folder: Path) -> None:
    exporter = Exporter(database, folder, settle_seconds=0.2)
    with open_transaction(database, "never") as slow:
        slow.rollback()
    store(database, [event(NOON, "second")])

    assert not exporter.export().is_waiting
    assert rows_in(folder) == [(2, "second")]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_transactions_that_follow_each_other_do_not_hold_up_an_export(database: Database, folder: Path) -> None:
    """A busy writer is always in some transaction; only those that were under way are waited for."""
    exporter = Exporter(database, folder, settle_seconds=10)
    first = database.engine.connect()
    first.execute(insert(AuditLog).values(at=NOON, action="x"))
    asked = []

    from teknav_ops.storage import settled

    def holders(session: Any, name: str) -> set[str]:
        nonlocal first
        found = set(session.execute(settled._HOLDERS, {"name": name}).scalars())
        if name == "audit_log":
            asked.append(set(found))
            # The next one begins before this one ends.
            second = database.engine.connect()
            second.execute(insert(AuditLog).values(at=NOON, action="x"))
            first.commit()
            first.close()
            first = second
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settled, "_holders", holders)
        done = exporter.export()
    first.commit()
    first.close()

    assert len(asked) == 2 and all(asked)
    assert not done.is_waiting and done.added >= 1
    exporter.export()
    with database.session() as session:
        assert len(rows_in(folder)) == session.scalar(select(func.count(AuditLog.id)))


# What the work file is made anew for --------------------------------------------------------------


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


def test_a_damaged_snapshot_is_followed_by_a_good_one(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    newest = exporter.export().path
    assert newest is not None
    newest.write_bytes(b"torn")

    assert Exporter(sqlite_database, folder).export().path == folder / "audit-00000002.duckdb"
    assert len(rows_in(folder)) == 5


def test_a_database_that_was_replaced_is_noticed(database: Database, folder: Path) -> None:
    store(database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(database, folder)
    exporter.export()
    with database.session() as session:
        session.execute(delete(AuditLog))
        session.execute(insert(AuditLog).values(id=5, at=after(days=1), action="of another life"))

    exporter.export()

    assert rows_in(folder) == [(5, "of another life")]


def test_rows_that_are_pruned_in_sql_stay_and_new_ones_come(database: Database, folder: Path) -> None:
    store(database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(database, folder)
    exporter.export()
    with database.session() as session:
        session.execute(delete(AuditLog))
    assert exporter.export().path is None
    store(database, [run(NOON, 1.0)])

    assert exporter.export().added == 1
    assert [row[0] for row in rows_in(folder)] == [1, 2, 3, 4, 5, 6]


def test_rebuild_drops_what_was_erased_in_sql(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    with sqlite_database.session() as session:
        session.execute(delete(AuditLog).where(AuditLog.id == 3))

    exporter.export(rebuild=True)

    assert [row[0] for row in rows_in(folder)] == [1, 2, 4, 5]


# Retention and compaction -------------------------------------------------------------------------


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


# The folder ---------------------------------------------------------------------------------------


def test_only_the_owner_may_look_in(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)])
    before = os.umask(0)
    try:
        Exporter(sqlite_database, folder).export()
    finally:
        os.umask(before)

    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_one_exporter_at_a_time(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    with SnapshotFolder(folder).locked():
        with pytest.raises(SnapshotBusy, match="another exporter"):
            exporter.export()
        with pytest.raises(SnapshotBusy):
            exporter.export(wait_seconds=0.1)
    assert exporter.export().path


def _export_at_once(url: str, folder: Path, start: Any, results: Any) -> None:
    database = Database.open(url)
    start.wait()
    results.put(Exporter(database, folder).export(wait_seconds=60))
    database.dispose()


def test_exporters_in_several_processes_take_each_row_once(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 1_000)
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    url = str(sqlite_database.engine.url)
    processes = [context.Process(target=_export_at_once, args=(url, folder, start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    done: list[Exported] = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(30)

    assert sum(result.added for result in done) == 1_000
    assert [result.path is None for result in done].count(False) == 1
    assert rows_in(folder, "select count(distinct id) from audit") == [(1_000,)]


def test_old_generations_are_collected_but_never_the_newest_three_nor_young_ones(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = Exporter(sqlite_database, folder)
    for _ in range(6):
        store(sqlite_database, [run(NOON, 1.0)])
        exporter.export()
    assert len(list(folder.glob("audit-*.duckdb"))) == 6
    long_ago = time.time() - 3_600
    for _, path in SnapshotFolder(folder).generations():
        os.utime(path, (long_ago, long_ago))
    os.utime(folder / "audit-00000002.duckdb")

    assert exporter.export().removed_generations == 2

    assert [number for number, _ in SnapshotFolder(folder).generations()] == [2, 4, 5, 6]


def test_a_clock_that_was_set_back_neither_hides_the_newest_nor_keeps_old_ones_for_good(
    sqlite_database: Database, folder: Path
) -> None:
    exporter = Exporter(sqlite_database, folder)
    for _ in range(5):
        store(sqlite_database, [run(NOON, 1.0)])
        exporter.export()
    tomorrow = time.time() + 86_400
    for _, path in SnapshotFolder(folder).generations():
        os.utime(path, (tomorrow, tomorrow))
    store(sqlite_database, [run(NOON, 1.0)])

    newest = exporter.export().path

    assert newest == folder / "audit-00000006.duckdb" and len(rows_in(folder)) == 6
    ages = [time.time() - path.stat().st_mtime for _, path in SnapshotFolder(folder).generations()[:3]]
    assert all(age >= 0 for age in ages), "they age from now on"


def test_leftovers_of_the_dead_are_removed(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    leftovers = [folder / ".tmp-4711", folder / "work/audit.compact.duckdb", folder / "work/audit.compact.duckdb.wal"]
    for path in leftovers:
        path.write_bytes(b"half")

    exporter.export()

    assert not any(path.exists() for path in leftovers)


def test_files_are_written_for_readers_since_duckdb_1_2(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)])
    path = Exporter(sqlite_database, folder).export().path
    assert path is not None

    header = path.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    # 65 is the storage version that DuckDB 1.2 introduced.
    assert int.from_bytes(header[12:20], "little") <= 65


# A full disk --------------------------------------------------------------------------------------


def test_too_little_room_is_noticed_before_anything_is_written(sqlite_database: Database, folder: Path) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    Exporter(sqlite_database, folder).export()
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    before = {path: path.read_bytes() for path in folder.glob("audit-*.duckdb")}

    with pytest.raises(SnapshotDiskFull, match=r"snapshot_dir: .* has [\d,]+ bytes free .* needs [\d,]+\."):
        Exporter(sqlite_database, folder, reserve_bytes=10**18).export()

    assert {path: path.read_bytes() for path in folder.glob("audit-*.duckdb")} == before
    assert len(rows_in(folder)) == 5
    assert Exporter(sqlite_database, folder).export().added == 5


def _export_with_small_files(url: str, folder: Path, limit_bytes: int, results: Any) -> None:
    import resource

    # Every file ends at this size, as on a disk that is full.
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    database = Database.open(url)
    try:
        Exporter(database, folder).export()
        results.put("exported")
    except SnapshotDiskFull as error:
        results.put(str(error))
    except BaseException as error:
        results.put(repr(error))


@pytest.mark.parametrize("moment", ["work file", "copy"])
def test_a_disk_that_fills_up_leaves_every_snapshot_and_the_next_export_goes_on(
    sqlite_database: Database, folder: Path, moment: str
) -> None:
    store(sqlite_database, [run(NOON, 1.0)] * 5)
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    size = (folder / "work/audit.work.duckdb").stat().st_size
    rows = [run(NOON, 1.0, error_type=os.urandom(90).hex()) for _ in range(20_000)]
    store(sqlite_database, rows)
    if moment == "copy":
        # The work file has everything already; only the copy has to be made.
        exporter.export(max_seconds=None)
        newest = SnapshotFolder(folder).newest()
        assert newest is not None
        newest.unlink()
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    arguments = (str(sqlite_database.engine.url), folder, size + 4096, results)
    process = context.Process(target=_export_with_small_files, args=arguments)
    process.start()
    said = results.get(timeout=60)
    process.join(30)

    assert said.startswith("snapshot_dir: the disk of"), said
    assert not list(folder.glob(".tmp-*"))
    assert len(rows_in(folder)) == 5
    exporter.export()
    assert rows_in(folder, "select count(*), count(distinct id) from audit") == [(20_005, 20_005)]


def test_the_work_file_in_another_programs_hands_is_named(sqlite_database: Database, folder: Path) -> None:
    exporter = Exporter(sqlite_database, folder)
    exporter.export()
    context = multiprocessing.get_context("spawn")
    opened, done = context.Event(), context.Event()
    process = context.Process(target=_hold_open, args=(folder / "work/audit.work.duckdb", opened, done))
    process.start()
    assert opened.wait(30)
    try:
        with pytest.raises(SnapshotBusy, match="open in another program"):
            exporter.export()
    finally:
        done.set()
        process.join(30)
    exporter.export()


def _hold_open(path: Path, opened: Any, done: Any) -> None:
    with duckdb.connect(str(path), read_only=True):
        opened.set()
        done.wait(30)


def test_an_open_row_is_looked_at_for_a_week(sqlite_database: Database, folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ages = (datetime.timedelta(days=1), datetime.timedelta(days=8))
    store(sqlite_database, [event(now - age, "x", outcome="requested") for age in ages])
    Exporter(sqlite_database, folder).export()

    with SnapshotFolder(folder).locked(), open_work_file(folder / "work/audit.work.duckdb") as work:
        assert work.open_ids(load.AUDIT, now) == [1]
