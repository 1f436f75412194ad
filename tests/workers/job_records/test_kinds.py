"""Each table's own rules: codes, AI runs, files."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from teknav_ops.platform.job_records.kinds import KINDS
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AiEventLog, AiRun, Base, File, OtpLog
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.topology import TOPOLOGY
from tests.workers.job_records.conftest import Records

AI = "ai:content"
#: Tables with a job and a status that never promise more than they say, and why.
SETTLED_WHEN_WRITTEN = {
    "article_version": "an editor decides on it",
    "plugin_execution_log": "written when an attempt has ended",
}


def test_every_table_with_a_job_and_a_status_follows_the_job_or_says_why_not() -> None:
    with_both = {name for name, table in Base.metadata.tables.items() if {"job_id", "status"} <= set(table.c.keys())}

    assert {kind.table.__tablename__ for kind in KINDS} == with_both - SETTLED_WHEN_WRITTEN.keys()
    queues = [queue for kind in KINDS for queue in kind.queues]
    assert len(queues) == len(set(queues)) and set(queues) <= set(TOPOLOGY)


def add_code(database: Database, job_id: str, status: str) -> None:
    with database.session() as session:
        session.add(
            OtpLog(
                job_id=job_id,
                channel="sms",
                purpose="sign-in",
                language="en",
                recipient_masked="+98•4567",
                recipient_digest="d",
                code_digest="d",
                status=status,
                expires_at=utc_now() + timedelta(minutes=2),
            )
        )


def code(database: Database, job_id: str) -> tuple[str, str | None]:
    with database.reading() as session:
        row = session.scalars(select(OtpLog).where(OtpLog.job_id == job_id)).one()
        return row.status, row.error


@pytest.mark.each_database
@pytest.mark.parametrize(
    ("before", "error_type", "after"),
    [
        ("sending", "WorkerLost", "failed"),
        ("delayed", "OtpExpired", "expired"),
        ("delayed", "OtpLimited", "limited"),
        ("expired", "OtpExpired", "expired"),
        ("sent", "InvalidResult", "sent"),
    ],
)
def test_a_code_says_how_its_job_was_given_up(records: Records, before: str, error_type: str, after: str) -> None:
    job_id, delivery = records.begun("otp:send")
    add_code(records.database, job_id, before)

    records.give_up(job_id, delivery.delivery, "otp:send", error_type=error_type)
    records.follow()

    assert code(records.database, job_id)[0] == after


def test_a_code_whose_job_was_cancelled_between_two_tries_says_so(records: Records) -> None:
    job_id, delivery = records.begun("otp:send")
    records.postpone(delivery, "otp:send")
    add_code(records.database, job_id, "delayed")

    records.cancel(job_id, "otp:send")
    records.follow()

    assert code(records.database, job_id) == ("cancelled", "JobCancelled: by cli:olga")


def add_run(database: Database, job_id: str, delivery: int, *, minutes_ago: float = 0) -> None:
    with database.session() as session:
        session.add(
            AiRun(
                job_id=job_id,
                delivery=delivery,
                attempt=1,
                task="translate",
                provider="p",
                model="m",
                status="running",
                trace_id="",
                reserved_tokens=700,
                reserved_micro_usd=9,
                started_at=utc_now() - timedelta(minutes=minutes_ago),
            )
        )


def runs(database: Database, job_id: str) -> list[tuple[str, str | None, bool]]:
    with database.reading() as session:
        rows = session.scalars(select(AiRun).where(AiRun.job_id == job_id).order_by(AiRun.delivery))
        return [(row.status, row.error_type, row.finished_at is not None) for row in rows]


@pytest.mark.each_database
def test_an_ai_run_whose_worker_died_is_lost_at_once_and_its_reservation_stands(records: Records) -> None:
    job_id, delivery = records.begun(AI)
    add_run(records.database, job_id, delivery.delivery)
    records.lose(AI)
    records.follow()
    assert runs(records.database, job_id) == [("lost", None, True)]

    again = records.fetch(AI)
    add_run(records.database, job_id, again.delivery)
    records.follow()
    assert runs(records.database, job_id)[1] == ("running", None, False)
    records.lose(AI, limit=1)
    records.follow()

    assert runs(records.database, job_id)[1] == ("lost", "WorkerLost", True)
    with records.database.reading() as session:
        assert list(session.scalars(select(AiRun.reserved_tokens))) == [700, 700]
        events = session.execute(select(AiEventLog.kind, AiEventLog.detail).order_by(AiEventLog.id)).all()
    assert [tuple(event) for event in events] == [("lost", None), ("lost", "WorkerLost: broken")]


def test_an_ai_run_that_could_not_write_its_failure_down_has_failed(records: Records) -> None:
    job_id, delivery = records.begun(AI)
    add_run(records.database, job_id, delivery.delivery)

    records.give_up(job_id, delivery.delivery, AI, error_type="ModelRefused")
    records.follow()

    assert runs(records.database, job_id) == [("failed", "ModelRefused", True)]


def test_an_ai_run_that_was_cut_off_before_its_job_was_cancelled_is_lost(records: Records) -> None:
    job_id, delivery = records.begun(AI)
    records.postpone(delivery, AI)
    add_run(records.database, job_id, delivery.delivery)

    records.cancel(job_id, AI)
    records.follow()

    assert runs(records.database, job_id) == [("lost", "JobCancelled", True)]


def test_the_sweep_leaves_an_ai_run_that_goes_on_and_ends_one_that_nobody_runs(records: Records) -> None:
    job_id, delivery = records.begun(AI)
    add_run(records.database, job_id, delivery.delivery - 1, minutes_ago=10)
    add_run(records.database, job_id, delivery.delivery, minutes_ago=9)

    records.sweep.step()

    assert [status for status, _, _ in runs(records.database, job_id)] == ["lost", "running"]


MEDIA = "media:optimize"


def add_file(database: Database, job_id: str, status: str) -> None:
    with database.session() as session:
        session.add(File(job_id=job_id, storage_path=f"originals/{job_id}", original_name="a.jpg", status=status))


def file(database: Database, job_id: str) -> tuple[str, str | None]:
    with database.reading() as session:
        row = session.scalars(select(File).where(File.job_id == job_id)).one()
        return row.status, row.error


@pytest.mark.each_database
def test_a_file_whose_job_was_lost_for_good_says_so_and_is_tried_again_when_that_is_replayed(records: Records) -> None:
    job_id, _ = records.begun(MEDIA)
    add_file(records.database, job_id, "optimizing")
    records.lose(MEDIA, limit=1)
    records.follow()
    assert file(records.database, job_id) == ("failed", "WorkerLost: broken")

    records.replay(job_id, MEDIA)
    records.follow()
    assert file(records.database, job_id)[0] == "optimizing"

    records.cancel(job_id, MEDIA)
    records.follow()
    assert file(records.database, job_id) == ("cancelled", "JobCancelled: by cli:olga")


@pytest.mark.parametrize("status", ["optimized", "rejected"])
def test_a_file_that_is_done_with_stays_as_it_is(records: Records, status: str) -> None:
    job_id, _ = records.begun(MEDIA)
    add_file(records.database, job_id, status)

    records.lose(MEDIA, limit=1)
    records.follow()

    assert file(records.database, job_id) == (status, None)
