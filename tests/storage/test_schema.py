"""The schema on both databases."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, delete, event, insert, select

from teknav_ops.errors import StorageUnavailable
from teknav_ops.storage import schema
from teknav_ops.storage.database import Database
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.schema import current_revision, head_revision, upgrade
from teknav_ops.storage.tables import AuditLog, Base
from tests.support import warm_python
from tests.support.databases import fresh_url
from tests.support.tampering import without_guard


def is_ours(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    return not (kind in ("table", "index") and (name or "").startswith("search_text"))


@pytest.mark.each_database
def test_the_migrations_lead_to_exactly_the_tables_of_the_code(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        assert compare_metadata(context, Base.metadata) == []


@pytest.mark.each_database
def test_two_processes_may_migrate_at_once(empty_database_url: str) -> None:
    program = "import sys; from teknav_ops.storage.schema import upgrade; upgrade(sys.argv[1])"
    both = [warm_python.Process([sys.executable, "-c", program, empty_database_url]) for _ in range(2)]

    assert [process.wait(60) for process in both] == [0, 0]
    assert current_revision(empty_database_url) == head_revision()


@pytest.mark.each_database
def test_all_migrations_are_one_transaction_so_that_no_other_process_comes_between(empty_database_url: str) -> None:
    commits: list[Connection] = []

    def note(connection: Connection) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", note)
    try:
        upgrade(empty_database_url)
    finally:
        event.remove(Engine, "commit", note)

    assert len(commits) == 1


@pytest.mark.each_database
def test_migrating_again_changes_nothing(empty_database_url: str) -> None:
    assert current_revision(empty_database_url) is None
    upgrade(empty_database_url)
    upgrade(empty_database_url)
    assert current_revision(empty_database_url) == head_revision()


@pytest.mark.each_database
def test_the_way_down_leads_up_again(database: Database, database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert current_revision(database_url) is None

    upgrade(database_url)
    assert current_revision(database_url) == head_revision()


@pytest.mark.each_database
def test_times_come_back_in_utc_whatever_zone_they_were_given_in(database: Database) -> None:
    tehran = datetime(2026, 11, 24, 12, 0, tzinfo=timezone(timedelta(hours=3, minutes=30)))
    with database.session() as session:
        session.execute(insert(AuditLog).values(at=tehran, action="test"))
    with database.session() as session:
        at = session.scalars(select(AuditLog.at)).one()

    assert at == tehran
    assert at.tzinfo is UTC


@pytest.mark.each_database
def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match="has no time zone"), database.session() as session:
        session.execute(insert(AuditLog).values(at=datetime(2026, 1, 1), action="test"))


@pytest.mark.each_database
def test_ids_of_the_audit_log_are_never_given_again(database: Database) -> None:
    row = {"at": datetime.now(UTC), "action": "test"}
    with without_guard(database), database.session() as session:
        first = session.execute(insert(AuditLog).values(row).returning(AuditLog.id)).scalar_one()
        session.execute(delete(AuditLog))
    with database.session() as session:
        second = session.execute(insert(AuditLog).values(row).returning(AuditLog.id)).scalar_one()

    assert second > first


def test_an_unreachable_database_is_named_as_such() -> None:
    database = Database.open("postgresql+psycopg://nobody@127.0.0.1:1/nowhere?connect_timeout=1")
    with pytest.raises(StorageUnavailable, match="did not answer"), database.session() as session:
        session.execute(select(1))
    database.dispose()


def test_a_database_whose_connections_are_all_taken_is_named_as_such(tmp_path: Path) -> None:
    with fresh_url("postgresql", tmp_path) as url:
        database = Database(create_engine(url, pool_size=1, max_overflow=0, pool_timeout=0.1))
        with database.session() as taken, pytest.raises(StorageUnavailable, match="no connection"):
            taken.execute(select(1))
            with database.session() as session:
                session.execute(select(1))
        database.dispose()


@pytest.mark.each_database
def test_an_effect_is_found_once_its_transaction_is_committed_and_not_before(database: Database) -> None:
    effects = SqlEffects(database)
    with pytest.raises(ZeroDivisionError), database.session() as session:
        record_effect(session, "job-1", "test:work", {"a": 1})
        raise ZeroDivisionError
    assert effects.find("job-1") is None

    for _ in range(2):
        with database.session() as session:
            record_effect(session, "job-1", "test:work", {"متن": "فارسی"})
    assert effects.find("job-1") == {"متن": "فارسی"}
