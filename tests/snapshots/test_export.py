"""From AuditLog into a snapshot: everything, once, and nothing that is secret."""

from __future__ import annotations

import datetime
import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import func, insert, select, update

from teknav_ops.snapshots import export, load, source
from teknav_ops.snapshots.export import Exporter
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.work import open_work_file
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AiRun, AuditLog
from tests.snapshots.rows import NOON, after, ai_run, event, failure, rows_in, run, store, store_ai


@pytest.mark.each_database
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


@pytest.mark.each_database
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


@pytest.mark.each_database
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
@pytest.mark.each_database
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
    # For these modules alone: threads that earlier tests left behind ask for the time too.
    for module in (export, load):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))

    while not results or results[-1].has_more:
        results.append(exporter.export(max_seconds=2))

    assert len(results) > 1 and sum(result.added for result in results) == 35
    assert [result.path for result in results[:-1]] == [None] * (len(results) - 1)
    assert [row[0] for row in rows_in(folder)] == list(range(1, 36))


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


def test_an_open_row_is_looked_at_for_a_week(sqlite_database: Database, folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    ages = (datetime.timedelta(days=1), datetime.timedelta(days=8))
    store(sqlite_database, [event(now - age, "x", outcome="requested") for age in ages])
    Exporter(sqlite_database, folder).export()

    with SnapshotFolder(folder).locked(), open_work_file(folder / "work/audit.work.duckdb") as work:
        assert work.open_ids(load.AUDIT, now) == [1]
