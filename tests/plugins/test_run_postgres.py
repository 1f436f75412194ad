"""A database that a test gives back: as new for the next test, or used no more."""

from __future__ import annotations

import psycopg
import pytest

from tests.support import run_postgres

ENTRY = "insert into audit_log (at, action) values (now(), 'x') returning id"


@pytest.fixture(autouse=True)
def nothing_spare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_postgres, "_spare", [])


def execute(name: str, statement: str) -> int | None:
    """The first row's first field, if the statement answers rows."""
    with psycopg.connect(run_postgres.address(name), autocommit=True) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchone()[0] if cursor.description else None


def test_it_has_no_rows_fresh_ids_and_another_name() -> None:
    name = run_postgres.take()
    first = execute(name, ENTRY)
    run_postgres.give_back(name)
    again = run_postgres.take()

    assert again != name
    assert execute(again, "select count(*) from audit_log") == 0
    assert execute(again, ENTRY) == first == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        execute(again, "delete from audit_log")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        execute(name, "select 1")
    run_postgres.give_back(again)


def test_who_is_still_connected_is_put_out() -> None:
    name = run_postgres.take()
    with psycopg.connect(run_postgres.address(name)) as left_open:
        left_open.execute(ENTRY)
        run_postgres.give_back(name)

        with pytest.raises(psycopg.OperationalError):
            left_open.execute("select 1")
    assert execute(run_postgres.take(), "select count(*) from audit_log") == 0


@pytest.mark.parametrize(
    "change",
    [
        "alter table audit_log disable trigger user",
        "drop index ix_audit_log_at",
        "alter table audit_log rename column action to act",
        "create table other (id int)",
        "update alembic_version set version_num = 'older'",
        "insert into audit_log (at, action) select now(), repeat('x', 60) from generate_series(1, 2000)",
    ],
)
def test_one_whose_schema_changed_or_that_grew_is_used_no_more(change: str) -> None:
    name = run_postgres.take()
    execute(name, change)
    run_postgres.give_back(name)

    assert run_postgres._spare == []
