"""Records that have not ended for long are held against their jobs, also where no entry tells of an end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from teknav_ops.audit.lag import AuditLag
from teknav_ops.platform.job_records import sweep
from teknav_ops.platform.job_records.sweep import SILENT_SECONDS, JobRecordSweep
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.tables.base import utc_now
from tests.workers.job_records.conftest import Records

GONE = ("failed", "JobGone: neither Redis nor AuditLog knows how its job ended")


def silent(records: Records, job_id: str, status: str, **facts: str) -> None:
    """A record that nobody has written for long."""
    records.mail(job_id, status, updated_at=utc_now() - timedelta(seconds=2 * SILENT_SECONDS), **facts)


@pytest.mark.each_database
def test_a_worker_that_was_overtaken_and_wrote_last_does_not_have_the_last_word(records: Records) -> None:
    given_up, _ = records.begun()
    cancelled = records.enqueue(delay_ms=60_000)
    records.lose(limit=1)
    records.cancel(cancelled)
    records.follow()
    silent(records, given_up, "delayed", error="MailDelayed: later")
    silent(records, cancelled, "delayed")

    records.sweep.step()

    assert records.mail(given_up) == ("failed", "WorkerLost: broken")
    assert records.mail(cancelled) == ("cancelled", "JobCancelled: by cli:olga")


@pytest.mark.each_database
def test_what_goes_on_or_was_written_just_now_is_left(records: Records) -> None:
    active, _ = records.begun()
    delayed = records.enqueue(delay_ms=60_000)
    cancelled = records.enqueue(delay_ms=60_000)
    records.cancel(cancelled)
    silent(records, active, "sending")
    silent(records, delayed, "delayed")
    records.mail(cancelled, "delayed")

    records.sweep.step()

    statuses = [records.mail(job_id)[0] for job_id in (active, delayed, cancelled)]
    assert statuses == ["sending", "delayed", "delayed"]


def test_a_mail_whose_job_has_completed_was_sent(records: Records) -> None:
    job_id, delivery = records.begun()
    records.complete(delivery)
    silent(records, job_id, "sending")

    records.sweep.step()

    assert records.mail(job_id) == ("sent", None)


def test_a_job_that_nobody_knows_is_gone_once_auditlog_is_not_behind(records: Records) -> None:
    silent(records, "never-heard-of", "sending")
    other = records.enqueue()
    behind = JobRecordSweep(
        records.client,
        records.database,
        lambda: {"email:send": AuditLag(1, 60_000)},  # type: ignore[arg-type]
    )
    unknown = JobRecordSweep(records.client, records.database, lambda: {"email:send": None})  # type: ignore[arg-type]
    behind.step()
    unknown.step()
    assert records.mail("never-heard-of")[0] == "sending"

    silent(records, other, "delayed")
    records.follow()
    records.client.delete(QueueKeys("email:send").job(other))
    records.sweep.step()

    assert records.mail("never-heard-of") == (GONE[0], f"{GONE[1]}; whether it went out is not known")
    assert records.mail(other) == GONE


def test_all_are_looked_at_in_bounded_steps_and_again(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "_LIMIT", 3)
    for number in range(4):
        silent(records, f"job-{number}", "delayed")
    with records.database.reading() as session:
        left = text("select count(*) from email_queue where status = 'delayed'")
        assert session.scalar(left) == 4
    counts = []
    for number in range(4):
        records.sweep.step()
        with records.database.reading() as session:
            counts.append(session.scalar(left))
        if number == 1:
            silent(records, "job-late", "delayed")

    assert counts == [1, 0, 0, 0], counts


@pytest.mark.each_database
def test_finished_records_cost_the_sweep_nothing(records: Records) -> None:
    with records.database.session() as session:
        explain = "explain query plan " if records.database.is_sqlite else "explain "
        if not records.database.is_sqlite:
            session.execute(text("set local enable_seqscan = off"))
        for table, where in sweep_conditions():
            sql = f"{explain} select id from {table} where id > 0 and {where} order by id limit 500"
            assert f"ix_{table}_unfinished" in str(session.execute(text(sql)).all())


def sweep_conditions() -> list[tuple[str, str]]:
    return [(kind.table.__tablename__, kind.unfinished) for kind in sweep.KINDS]
