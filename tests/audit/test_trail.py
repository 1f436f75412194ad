"""AuditLog as operators read it, on both databases."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, text

from teknav_ops.audit import trail as trail_module
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.audit.trail import AuditFilter, AuditTrail
from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.jobs.paging import Window
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support.waiting import until

START = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


def put(database: Database, *rows: dict[str, Any]) -> None:
    """Rows a second apart."""
    with database.session() as session:
        for number, row in enumerate(rows):
            facts = {"at": START + timedelta(seconds=number), "action": "job.completed", "queue": "a:b", **row}
            session.execute(insert(AuditLog).values(facts))


def found(database: Database, **where: Any) -> list[str | None]:
    """The job ids of all that match, newest first."""
    return [entry.job_id for entry in AuditTrail(database).page(AuditFilter(**where)).items]


def found_details(database: Database, asked: str) -> list[Any]:
    """The details of what a text finds; one at a time, and by who follows."""
    trail, where = AuditTrail(database), AuditFilter(text=asked)
    (paged,) = trail.page(where, limit=1).items
    assert trail.since(0, where, limit=1) == ([paged], paged.id)
    return [entry.detail for entry in trail.page(where).items]


@pytest.fixture
def filled(database: Database) -> Database:
    put(
        database,
        {"action": "job.enqueued", "job_id": "one", "actor": "producer", "trace_id": "ab" * 16},
        {"action": "job.failed", "job_id": "one", "error_type": "ValueError", "fingerprint": "f1", "job_name": "work",
         "detail": {"text": "No 100% of سلام_there"}},
        {"action": "dlq.added", "job_id": "two", "error_type": "KeyError", "fingerprint": "f2", "queue": "c:d"},
        {"action": "dlq.purged", "job_id": "three", "actor": "sara", "outcome": "done"},
        {"action": "job.completed", "job_id": "four", "actor": "w:1"},
    )  # fmt: skip
    return database


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, ["four", "three", "two", "one", "one"]),
        ({"queue": "c:d"}, ["two"]),
        ({"action": "dlq."}, ["three", "two"]),
        ({"action": "dlq.added"}, ["two"]),
        ({"action": "job."}, ["four", "one", "one"]),
        ({"action": "dlq"}, []),
        ({"actor": "sara"}, ["three"]),
        ({"job_id": "one"}, ["one", "one"]),
        ({"job_id": "one", "action": "job.failed"}, ["one"]),
        ({"trace_id": "ab" * 16}, ["one", "one"]),
        ({"trace_id": "ab" * 16, "job_id": "two"}, []),
        ({"trace_id": "cd" * 16}, []),
        ({"error_type": "KeyError"}, ["two"]),
        ({"fingerprint": "f1"}, ["one"]),
        ({"fingerprint": "f1", "queue": "c:d"}, []),
        ({"outcome": "done"}, ["three"]),
        ({"text": "keyerr"}, ["two"]),
        ({"text": "سلام"}, ["one"]),
        ({"text": "100%"}, ["one"]),
        ({"text": "1%0"}, []),
        ({"text": "no ١٠٠% OF"}, ["one"]),
        ({"text": "text"}, []),
        ({"text": "ORK", "queue": "a:b"}, ["one"]),
        ({"window": Window(START + timedelta(seconds=1), START + timedelta(seconds=3))}, ["two", "one"]),
    ],
)
@pytest.mark.each_database
def test_a_filter_finds_exactly_what_matches(filled: Database, where: dict[str, Any], expected: list[str]) -> None:
    assert found(filled, **where) == expected


@pytest.mark.each_database
def test_pages_follow_each_other_without_gap_or_repetition_also_within_one_moment(database: Database) -> None:
    put(database, *({"at": START, "job_id": str(number)} for number in range(23)))
    trail, seen, cursor = AuditTrail(database), [], None

    while True:
        page = trail.page(cursor=cursor, limit=5)
        seen += [entry.job_id for entry in page.items]
        put(database, {"at": START + timedelta(hours=1), "job_id": "came meanwhile"})
        if (cursor := page.next_cursor) is None:
            break

    assert seen == [str(number) for number in reversed(range(23))]


@pytest.mark.each_database
def test_a_rare_entry_is_looked_for_in_bounded_steps_that_can_be_continued(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_FIRST_STEP", 5)
    monkeypatch.setattr(trail_module, "_STEP", 10)
    monkeypatch.setattr(trail_module, "LOOK_LIMIT", 20)
    put(database, {"actor": "sara", "job_id": "rare"}, *({"actor": "w:1"} for _ in range(60)))
    trail, cursor, calls = AuditTrail(database), None, 0

    while True:
        page = trail.page(AuditFilter(actor="sara"), cursor=cursor)
        calls += 1
        if page.items or page.next_cursor is None:
            break
        assert page.looked_back_to is not None
        cursor = page.next_cursor

    assert [entry.job_id for entry in page.items] == ["rare"]
    assert calls == 3


@pytest.mark.each_database
def test_an_index_serves_every_question_that_names_few_entries(filled: Database) -> None:
    plans: list[str] = []
    questions = ({"action": "dlq."}, {"fingerprint": "f1"}, {"job_id": "one"}, {})
    for where in questions:
        with filled.reading() as session:
            if not filled.is_sqlite:
                session.execute(text("set local enable_seqscan = off"))
            source = trail_module._newest(trail_module._indexed(session, AuditFilter(**where)), None).limit(50)
            sql = str(source.compile(filled.engine, compile_kwargs={"literal_binds": True}))
            explain = "explain query plan " if filled.is_sqlite else "explain "
            plans.append("\n".join(str(tuple(row)) for row in session.execute(text(explain + sql.replace(":", r"\:")))))

    wanted = ["ix_audit_log_notable", "ix_audit_log_fingerprint", "ix_audit_log_job_id", "ix_audit_log_at"]
    assert [name for name, plan in zip(wanted, plans, strict=True) if name in plan] == wanted, plans


@pytest.mark.parametrize("cursor", ["", "7", "x-1", "1-x", "1-2-3", "-1-1", "٣-١", "9" * 50])
def test_a_cursor_that_is_none_is_refused(database: Database, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor: "):
        AuditTrail(database).page(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1_001])
def test_a_limit_out_of_range_is_refused(database: Database, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="limit: "):
        AuditTrail(database).page(limit=limit)


@pytest.mark.each_database
def test_what_comes_is_followed_in_the_order_of_coming(filled: Database) -> None:
    trail = AuditTrail(filled)
    begin = trail.newest_id()
    assert trail.since(begin) == ([], begin)

    put(filled, {"job_id": "late", "at": START - timedelta(days=1)}, {"job_id": "other", "queue": "x:y"})
    entries, after = trail.since(begin)
    assert [entry.job_id for entry in entries] == ["late", "other"]
    assert trail.since(after) == ([], after)

    matching, after_matching = trail.since(begin, AuditFilter(queue="a:b"))
    assert [entry.job_id for entry in matching] == ["late"]
    assert after_matching == after


def test_a_flood_is_followed_in_portions_that_leave_nothing_out(filled: Database) -> None:
    trail = AuditTrail(filled)
    after = trail.newest_id()
    put(filled, *({"job_id": str(number)} for number in range(7)))
    seen = []

    while True:
        entries, next_after = trail.since(after, limit=3)
        seen += [entry.job_id for entry in entries]
        if next_after == after:
            break
        after = next_after

    assert seen == [str(number) for number in range(7)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_follows_waits_for_entries_with_smaller_ids_that_are_on_their_way(database: Database) -> None:
    """PostgreSQL gives ids before the commit: a follower that has seen the larger one would miss the smaller."""
    slow = database.engine.connect()
    slow.execute(insert(AuditLog).values(at=START, action="slow"))
    put(database, {"action": "quick"})
    trail, seen = AuditTrail(database), list[int]()
    asking = threading.Thread(target=lambda: seen.append(trail.newest_id()))
    asking.start()
    until(lambda: has_asked(database), what="asking who is inserting")
    assert seen == []
    slow.commit()
    slow.close()
    asking.join(45)

    assert [entry.action for entry in trail.since(0)[0]] == ["slow", "quick"]
    assert seen == [2]


def has_asked(database: Database) -> bool:
    """Whether another connection has looked at the locks of the table."""
    with database.reading() as session:
        others = "datname = current_database() and pid <> pg_backend_pid()"
        return bool(
            session.scalar(text(f"select count(*) from pg_stat_activity where query ~ 'pg_locks' and {others}"))
        )


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_follows_is_told_when_a_transaction_does_not_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "_SETTLE_SECONDS", 0.1)
    with database.engine.connect() as endless:
        endless.execute(insert(AuditLog).values(at=START, action="slow"))
        with pytest.raises(StorageUnavailable, match="a transaction has been writing"):
            AuditTrail(database).since(0)
        endless.rollback()

    assert AuditTrail(database).since(0) == ([], 1)


@pytest.mark.each_database
def test_an_operators_action_is_in_the_trail_with_what_came_of_it(database: Database) -> None:
    with OperatorLog(database).record("dlq.purged", actor="sara", queue="a:b", reason="دیگر لازم نیست") as action:
        action.note(count=3)
    put(database, {"detail": {"reason": r'"quoted" C:\temp'}}, {"detail": {"reason": "other"}})

    # As Arabic keyboards write it, and joined; quotes and backslashes as they are read.
    (entry,) = AuditTrail(database).page(AuditFilter(text="ديگر‌لازم")).items
    assert found_details(database, r'"QUOTED" c:\temp') == [{"reason": r'"quoted" C:\temp'}]

    assert (entry.actor, entry.outcome) == ("sara", "done")
    assert entry.detail == {"reason": "دیگر لازم نیست", "count": 3}
