"""What a database refuses for good, and what it refuses for now."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from teknav_ops.errors import StorageRefused, StorageUnavailable
from teknav_ops.storage.database import Database
from tests.support.databases import migrated_url


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    with migrated_url(request.param, tmp_path) as url:
        database = Database.open(url)
        yield database
        database.dispose()


def refused(records: Database, *statements: str) -> str:
    with pytest.raises(StorageRefused) as raised, records.session() as session:
        for statement in statements:
            session.execute(text(statement))
    return str(raised.value)


def test_a_missing_table_or_column_and_bad_sql_are_refused_for_good(records: Database) -> None:
    assert "nowhere" in refused(records, "select * from nowhere")
    assert "nothing" in refused(records, "select nothing from article")
    assert "elect" in refused(records, "elect 1")
    assert "the database refuses this: " in refused(records, "insert into nowhere values (1)")


def test_a_missing_right_is_refused_for_good(tmp_path: Path) -> None:
    statements = ("create role nobody_at_all", "set local role nobody_at_all", "select * from article")
    with migrated_url("postgresql", tmp_path) as url:
        database = Database.open(url)
        assert "permission denied" in refused(database, *statements)
        database.dispose()


def test_what_breaks_a_rule_of_the_data_is_neither(records: Database) -> None:
    with pytest.raises(Exception) as raised, records.session() as session:
        session.execute(text("insert into job_effect (job_id) values (null)"))
    assert not isinstance(raised.value, StorageUnavailable)


VALUE = '{"password": \nhunter2'
EFFECT = "insert into job_effect (job_id, queue, summary, recorded_at) values (:value, {}, '{{}}', '2026-11-28')"


@pytest.mark.parametrize(
    "statements",
    [
        (EFFECT.format("null"),),
        (EFFECT.format("'q'"), EFFECT.format("'q'")),
        ("insert into article (id, slug) values (:value, 'a')",),
        ("select cast(:value as json)", "select json(:value)"),
    ],
    ids=["a row with a null", "a key that is there", "a value of another type", "a value that cannot be read"],
)
def test_what_a_row_holds_stands_in_no_error_and_no_stack(records: Database, statements: tuple[str, ...]) -> None:
    with pytest.raises(Exception) as raised, records.session() as session:
        for statement in statements:
            session.execute(text(statement), {"value": VALUE})
    said = "".join(traceback.format_exception(raised.value))
    assert "hunter2" not in said and "password" not in said
    assert "for type" in said or "constraint" in said or "mismatch" in said or "malformed" in said
