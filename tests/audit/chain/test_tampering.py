"""Whatever is done to a row or a link behind the guard's back, the chain tells it, and names the first row."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from teknav_ops.audit.chain.links import COLUMNS, FIELDS, NO_HASH, Link
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog, AuditSeal
from tests.audit.chain.conftest import KEYS, Check, fill
from tests.support.tampering import remove_guard, without_guard

IDS = st.integers(1, 35)
NAMES = [column.name for column in AuditLog.__table__.columns if column.name != "id"]
VALUES = st.one_of(
    st.none(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False), st.text(max_size=20), st.binary(max_size=8),
    st.sampled_from(["requested", "done", "job.failed", "sara", '{"text": "x"}', "2026-11-01 12:00:00.250000"]),
)  # fmt: skip


@pytest.fixture
def trail(database: Database, sealer: AuditSealer) -> Database:
    """Sealed, and without its guard."""
    fill(database, sealer)
    remove_guard(database)
    return database


def raw(session: Session, row_id: int) -> list[Any]:
    """A row's columns with their kinds, as the database has them."""
    kinds = ", ".join(f"typeof({name}), quote({name}), {name}" for name in NAMES)
    return list(session.execute(text(f"select {kinds} from audit_log where id = {row_id}")).one())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_change_of_any_rows_is_named_at_the_first_of_them(
    trail: Database, check: Check, data: st.DataObject
) -> None:
    with trail.session() as session:
        expected: dict[int, str] = {}
        for row_id in sorted(data.draw(st.sets(IDS, min_size=1, max_size=3), "rows")):
            if data.draw(st.booleans(), "delete"):
                session.execute(text(f"delete from audit_log where id = {row_id}"))
                expected[row_id] = "removed"
                continue
            before = raw(session, row_id)
            name, value = data.draw(st.sampled_from(NAMES), "column"), data.draw(VALUES, "value")
            session.execute(
                text(f"update or ignore audit_log set {name} = :value where id = :id"), {"value": value, "id": row_id}
            )
            if raw(session, row_id) != before:
                expected[row_id] = "changed"
        # The one that never ended may still end, once.
        if expected.get(16) == "changed" and session.scalar(text(_ONLY_ENDED)):
            del expected[16]

        found = check(session)

        assert [(finding.row_id, finding.kind) for finding in found.findings] == sorted(expected.items())
        session.rollback()


#: Row 16 differs from how it began in nothing but its outcome, and in its detail behind that.
_ONLY_ENDED = (
    "select outcome is not 'requested' and action = 'queue.paused' and actor = 'sara' and queue = 'email:send' "
    "and typeof(at) = 'text' and coalesce(stream_id, job_id, job_name, attempt, delivery, duration_ms, waited_ms, "
    "error_type, fingerprint, trace_id) is null from audit_log where id = 16"
)


@pytest.mark.each_database
def test_each_column_counts_on_both_databases(database: Database, trail: Database, check: Check) -> None:
    assert (check().finding_count, check().row_count, check().unsealed_count) == (0, 35, 0)
    values = {"at": "2026-11-01 12:00:00.250001+00", "detail": '{"text": "x"}'}
    for name in NAMES:
        value = values.get(name, 77 if name in ("attempt", "delivery", "duration_ms", "waited_ms") else "x")
        with trail.session() as session:
            session.connection().exec_driver_sql(f"update audit_log set {name} = '{value}' where id = 22")

            found = check(session)

            assert [(each.row_id, each.kind) for each in found.findings] == [(22, "changed")], name
            session.rollback()


@pytest.mark.each_database
def test_the_last_digit_of_a_duration_counts(database: Database, trail: Database, check: Check) -> None:
    with trail.session() as session:
        session.execute(text("update audit_log set duration_ms = 0.30000000000000004 where id = 4"))
        session.execute(text("update audit_log set duration_ms = 0.3 where id = 4"))
        first = check(session).finding_count
        session.execute(text("update audit_log set duration_ms = 0.30000000000000004 where id = 4"))
        second = check(session).finding_count
        session.rollback()

    assert {first, second} == {0, 1}


@pytest.mark.each_database
@pytest.mark.parametrize("row_id", [13, -4])
def test_a_row_that_is_slipped_in_is_named(database: Database, trail: Database, check: Check, row_id: int) -> None:
    with trail.session() as session:
        copied = ", ".join(name for name in NAMES if name != "stream_id")
        session.execute(text("delete from audit_log where id = 13"))
        values = f"select {row_id}, 'x', {copied} from audit_log where id = 9"
        session.execute(text(f"insert into audit_log (id, stream_id, {copied}) {values}"))

        found = check(session)

        assert ("inserted" if row_id < 0 else "changed") == found.findings[0].kind
        assert found.findings[0].row_id == row_id
        session.rollback()


@pytest.mark.each_database
def test_two_rows_that_change_places_are_both_named(database: Database, trail: Database, check: Check) -> None:
    with trail.session() as session:
        for before, after in ((5, 99), (28, 5), (99, 28)):
            session.execute(update(AuditLog).where(AuditLog.id == before).values(id=after))

        assert [each.row_id for each in check(session).findings] == [5, 28]
        session.rollback()


def test_what_has_ended_since_is_no_change_and_ends_no_second_time(
    database: Database, sealer: AuditSealer, check: Check
) -> None:
    fill(database, sealer)
    with database.session() as session:
        session.execute(update(AuditLog).where(AuditLog.id == 16).values(outcome="done", detail={"a": 1}))
    assert check().is_intact
    assert sealer.step() is False
    assert check().is_intact

    with without_guard(database), database.session() as session:
        session.execute(update(AuditLog).where(AuditLog.id == 16).values(detail={"a": 2}))

    assert [each.row_id for each in check().findings] == [16]


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "number"])
def test_each_column_of_a_link_counts(trail: Database, check: Check, name: str) -> None:
    for value in ("'x'", "1", "null", "x'00'", "'2020-01-01 00:00:00.000000'"):
        with trail.session() as session:
            session.execute(text(f"update or ignore audit_seal set {name} = {value} where number = 2"))
            is_same = session.scalar(text(f"select {name} is {value} from audit_seal where number = 2"))
            found = check(session)
            # Not every column can be null, and some are.
            was_null = value == "null" and name in ("pruned_to_id", "pruned_to_number")
            assert found.is_intact == (was_null or not is_same), value
            session.rollback()


def test_links_that_are_removed_are_missed(trail: Database, check: Check) -> None:
    newest = check().newest
    for number, kind in ((1, "link"), (2, "link"), (4, "expected")):
        with trail.session() as session:
            session.execute(text(f"delete from audit_seal where number = {number}"))
            if number == 4:
                session.execute(text("delete from audit_log where id > 25"))

            found = check(session, expected=newest)

            assert found.findings[0].kind == kind, number
            session.rollback()


def test_a_chain_that_is_written_anew_without_the_key_has_no_signature(trail: Database, check: Check) -> None:
    newest = check().newest
    with trail.session() as session:
        session.execute(text("delete from audit_log where id = 12"))
        links = [Link(**row._asdict()) for row in session.execute(select(*COLUMNS).order_by(AuditSeal.number))]
        session.execute(text("delete from audit_seal"))
        previous = NO_HASH
        for link in links:
            row_count = 9 if link.number == 2 else link.row_count
            draft = dataclasses.replace(link, previous_hash=previous, row_count=row_count)
            forged = dataclasses.replace(draft, hash=draft.computed_hash())
            session.execute(insert(AuditSeal).values({each: getattr(forged, each) for each in FIELDS}))
            previous = forged.hash

        assert {each.kind for each in check(session).findings} >= {"signature"}
        assert {each.kind for each in check(session, expected=newest).findings} >= {"signature", "expected"}
        session.rollback()


def test_a_key_that_is_not_at_hand_is_said_once(database: Database, sealer: AuditSealer, check: Check) -> None:
    fill(database, sealer)
    other = type(KEYS)([b"o" * 32])

    assert [each.kind for each in check(keys=other).findings] == ["signature"]
    assert check(keys=type(KEYS)([b"o" * 32, b"k" * 32])).is_intact
    assert check(keys=None).is_intact
