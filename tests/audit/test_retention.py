"""How long AuditLog is kept, on both databases."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest
import redis
from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from teknav_ops.audit import retention as retention_module
from teknav_ops.audit.chain.database_source import source_of
from teknav_ops.audit.chain.links import LinkKeys
from teknav_ops.audit.chain.sealer import AuditSealer
from teknav_ops.audit.chain.verification import Verification
from teknav_ops.audit.chain.verify import verify
from teknav_ops.audit.retention import AuditRetention
from teknav_ops.runtime.duties import Duty, DutyThread
from teknav_ops.runtime.leader import LeaderLease
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog
from tests.support import warm_python
from tests.support.waiting import until

KEYS = LinkKeys([b"k" * 32])


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention_module, "_BITE", 10)
    monkeypatch.setattr(retention_module, "_PAUSE_SECONDS", 0.0)


def put(database: Database, count: int, *, days_ago: float) -> None:
    rows = [{"at": datetime.now(UTC) - timedelta(days=days_ago), "action": "job.completed"} for _ in range(count)]
    with database.session() as session:
        session.execute(insert(AuditLog), rows)
    AuditSealer(database, KEYS, every_seconds=0).step()


def verified(database: Database) -> Verification:
    with source_of(database) as source:
        found = verify(source, KEYS)
    assert found.is_intact, found.findings
    return found


def kept(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(AuditLog)) or 0


@pytest.mark.each_database
def test_what_is_too_old_goes_bite_by_bite_and_the_rest_stays(database: Database) -> None:
    put(database, 25, days_ago=31)
    put(database, 4, days_ago=29)
    put(database, 1, days_ago=0)
    retention = AuditRetention(database, KEYS, keep_days=30)

    sizes = [kept(database)]
    while retention.step():
        sizes.append(kept(database))

    assert sizes == [30, 20, 10]
    assert kept(database) == 5
    assert retention.step() is False
    found = verified(database)
    assert (found.row_count, found.pruned_to_id) == (5, 25)


@pytest.mark.each_database
def test_ids_of_what_is_gone_are_not_given_again(database: Database) -> None:
    put(database, 3, days_ago=31)
    put(database, 1, days_ago=0)
    retention = AuditRetention(database, KEYS, keep_days=30)
    retention.step()
    put(database, 1, days_ago=0)

    with database.reading() as session:
        assert list(session.scalars(select(AuditLog.id).order_by(AuditLog.id))) == [4, 5]


def test_nothing_is_deleted_where_everything_is_kept_or_nothing_is_there(database: Database) -> None:
    assert AuditRetention(database, KEYS, keep_days=30).step() is False
    put(database, 1, days_ago=9_000)
    put(database, 1, days_ago=0)

    assert AuditRetention(database, KEYS, keep_days=0).step() is False
    assert kept(database) == 2


def test_a_clock_that_runs_ahead_deletes_nothing_young(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    put(database, 3, days_ago=1)

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=4_000)

    monkeypatch.setattr(retention_module, "datetime", Ahead)

    assert AuditRetention(database, KEYS, keep_days=30).step() is False
    assert kept(database) == 3


def _prune_and_die(database_url: str) -> None:
    database = Database.open(database_url)
    execute = Session.execute

    def execute_and_die(self: Session, statement: object, *arguments: object, **options: object) -> object:
        answer = execute(self, statement, *arguments, **options)  # type: ignore[call-overload]
        if str(statement).startswith("DELETE"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    Session.execute = execute_and_die  # type: ignore[method-assign, assignment]
    AuditRetention(database, KEYS, keep_days=30).step()


@pytest.mark.each_database
def test_who_dies_in_the_middle_has_deleted_nothing_half(database: Database, database_url: str) -> None:
    put(database, 25, days_ago=31)
    put(database, 1, days_ago=0)
    process = warm_python.start_function(_prune_and_die, database_url)
    process.wait(30)
    assert process.returncode == -signal.SIGKILL
    assert kept(database) == 26

    retention = AuditRetention(database, KEYS, keep_days=30)
    while retention.step():
        assert verified(database).pruned_to_id == 25
    assert kept(database) == verified(database).row_count == 1


def test_a_scheduler_that_lost_the_lead_deletes_no_more(client: redis.Redis, database: Database) -> None:
    put(database, 25, days_ago=31)
    put(database, 1, days_ago=0)
    lease = LeaderLease(client, "scheduler")  # type: ignore[arg-type]
    lease.hold()
    retention = AuditRetention(database, KEYS, keep_days=30)

    def bite_then_lose() -> bool:
        has_more = retention.step()
        lease.give_up()
        return has_more

    thread = DutyThread(Duty(name="retention", every_seconds=60, run=bite_then_lose), lease)
    thread.start()
    until(lambda: kept(database) == 16, what="the first bite")
    other = LeaderLease(client, "scheduler")  # type: ignore[arg-type]
    until(other.hold, what="another's lead")
    thread.stop()
    thread.join(10)

    assert kept(database) == 16


@pytest.mark.each_database
def test_a_row_whose_clock_was_ahead_holds_the_others_up_no_longer_than_it_is_on_record(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, 3, days_ago=-3_000)
    put(database, 3, days_ago=31)
    put(database, 1, days_ago=0)
    retention = AuditRetention(database, KEYS, keep_days=30)
    assert retention.step() is False

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + timedelta(days=31)

    monkeypatch.setattr(retention_module, "datetime", Later)
    while retention.step():
        pass

    assert verified(database).pruned_to_id == 7


@pytest.mark.each_database
def test_what_is_slipped_in_below_what_retention_deleted_is_named(database: Database) -> None:
    put(database, 5, days_ago=31)
    put(database, 1, days_ago=0)
    retention = AuditRetention(database, KEYS, keep_days=30)
    while retention.step():
        pass
    with database.session() as session:
        session.execute(insert(AuditLog).values(id=2, at=datetime.now(UTC), action="never happened"))

    with source_of(database) as source:
        found = verify(source, KEYS)

    assert [(each.kind, each.row_id) for each in found.findings] == [("inserted", 2)]
