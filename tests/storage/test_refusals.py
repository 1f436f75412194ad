"""What a database refuses for good, and what it refuses for now."""

from __future__ import annotations

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
