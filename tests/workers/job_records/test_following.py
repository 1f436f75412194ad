"""What befalls a job outside its processor: its record comes to say it, once, whoever dies meanwhile."""

from __future__ import annotations

import dataclasses
import signal
from typing import Any

import pytest
import redis

from teknav_ops.platform.job_records import follower
from teknav_ops.platform.job_records.follower import JobRecordFollower
from teknav_ops.platform.job_records.job_now import JobNow
from teknav_ops.platform.job_records.kind import Facts
from teknav_ops.platform.job_records.kinds import KINDS
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.storage.tables import EmailQueue
from tests.support import warm_python
from tests.support.redis_server import RedisServer
from tests.workers.job_records.conftest import Records, follow_and_die

CANCELLED = ("cancelled", "JobCancelled: by cli:olga")
CUT_OFF = ("queued", "cut off as it was sent; whether it went out is not known")
LOST = ("failed", "WorkerLost: broken; whether it went out is not known")


@pytest.mark.each_database
def test_a_mail_whose_workers_were_lost_for_good_says_so(records: Records) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.follow()
    assert records.mail(job_id) == ("sending", None)

    records.lose(limit=1)
    records.follow()

    assert records.mail(job_id) == LOST


def test_a_mail_that_lost_its_worker_waits_and_when_it_is_begun_again_nothing_is_said(records: Records) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose()
    records.follow()
    assert records.mail(job_id) == CUT_OFF

    records.fetch()
    records.follow()
    assert records.mail(job_id) == CUT_OFF, "who runs it says so"

    records.lose()
    records.follow()
    records.cancel(job_id)
    records.follow()
    assert records.mail(job_id) == (CANCELLED[0], f"{CANCELLED[1]}; whether it went out is not known")


@pytest.mark.parametrize("status", ["delayed", "queued", "failed"])
def test_a_mail_that_was_cancelled_after_a_first_try_says_by_whom(records: Records, status: str) -> None:
    job_id, delivery = records.begun()
    records.postpone(delivery)
    records.mail(job_id, status, error="MailDelayed: later")

    records.cancel(job_id)
    records.follow()

    assert records.mail(job_id) == CANCELLED


def test_what_was_sent_stays_sent_whatever_became_of_its_job(records: Records) -> None:
    job_id, delivery = records.begun()
    records.mail(job_id, "sent")
    records.give_up(job_id, delivery.delivery, error_type="InvalidResult")
    records.follow()
    records.replay(job_id)
    records.follow()
    records.cancel(job_id)
    records.follow()

    assert records.mail(job_id) == ("sent", None)


def test_a_mail_whose_payload_cannot_be_read_at_its_retry_has_failed(records: Records) -> None:
    job_id, delivery = records.begun()
    records.mail(job_id, "delayed", error="MailDelayed: later")

    records.give_up(job_id, delivery.delivery, error_type="InvalidPayload")
    records.follow()

    assert records.mail(job_id) == ("failed", "InvalidPayload: broken")


def test_what_the_processor_said_of_a_failure_stands(records: Records) -> None:
    job_id, delivery = records.begun()
    records.mail(job_id, "failed", error="MailRefused: 550 no such user")

    records.give_up(job_id, delivery.delivery, error_type="MailRefused")
    records.follow()

    assert records.mail(job_id) == ("failed", "MailRefused: 550 no such user")


@pytest.mark.each_database
def test_a_replayed_mail_is_queued_and_ends_anew(records: Records) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    records.follow()

    records.replay(job_id)
    records.follow()
    assert records.mail(job_id) == ("queued", LOST[1]), "what happened last stays until something else does"

    records.cancel(job_id)
    records.follow()
    assert records.mail(job_id) == (CANCELLED[0], f"{CANCELLED[1]}; whether it went out is not known")


def test_late_news_of_a_job_that_was_replayed_and_runs_changes_nothing(records: Records) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    records.replay(job_id)
    records.fetch()

    records.follow()

    assert records.mail(job_id) == ("sending", None)


def test_a_record_that_is_written_just_then_is_left_to_who_writes_it(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    change_of = follower.change_of

    def and_somebody_writes(*given: object, **more: object) -> object:
        change = change_of(*given, **more)  # type: ignore[arg-type]
        with records.database.session() as session:
            session.connection().exec_driver_sql("update email_queue set updated_at = '2031-01-01 00:00:00'")
        return change

    monkeypatch.setattr(follower, "change_of", and_somebody_writes)
    records.follow()

    assert records.mail(job_id) == ("sending", None)


def test_a_job_of_which_redis_keeps_nothing_any_more_is_known_by_its_entries(records: Records) -> None:
    job_id, delivery = records.begun()
    records.postpone(delivery)
    records.mail(job_id, "delayed")
    dropped, _ = records.begun()
    records.lose()
    records.mail(dropped, "sending")
    records.cancel(job_id, kept=0)
    records.run(scripts.flush(QueueKeys("email:send"), actor="w:1", count=10))
    assert not records.client.exists(QueueKeys("email:send").job(job_id), QueueKeys("email:send").job(dropped))

    records.follow()

    assert records.mail(job_id) == CANCELLED
    assert records.mail(dropped)[0] == "cancelled"


def test_a_server_that_does_not_answer_is_no_server_that_knows_of_nothing(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    records.writer.drain()
    away = JobRecordFollower(connect("redis://127.0.0.1:1/0", timeout_seconds=1), records.database)

    with pytest.raises(redis.ConnectionError):
        away.step()
    assert records.mail(job_id) == ("sending", None)

    records.follow()
    assert records.mail(job_id) == LOST


def test_a_damaged_job_record_stops_nothing(records: Records) -> None:
    damaged, _ = records.begun()
    records.mail(damaged, "sending")
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    key = QueueKeys("email:send").job(damaged)
    records.client.delete(key)
    records.client.set(key, "no hash")

    records.follow()

    assert records.mail(damaged) == ("sending", None)
    assert records.mail(job_id) == LOST


def test_many_ends_are_followed_in_bounded_steps(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower, "_WINDOW", 7)
    jobs = [records.enqueue(delay_ms=60_000) for _ in range(30)]
    for job_id in jobs:
        records.mail(job_id, "delayed")
        records.cancel(job_id)
    records.writer.drain()

    assert records.follower.step() is True
    assert sum(records.mail(job_id) == CANCELLED for job_id in jobs) <= 7
    records.follow()

    assert {records.mail(job_id) for job_id in jobs} == {CANCELLED}


@pytest.mark.each_database
@pytest.mark.parametrize("statement", ["UPDATE audit_position", "UPDATE email_queue"])
def test_a_scheduler_that_is_killed_at_its_write_has_missed_nothing(
    records: Records, redis_server: RedisServer, database_url: str, statement: str
) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    records.writer.drain()

    process = warm_python.start_function(follow_and_die, redis_server.url, database_url, statement)
    assert process.wait(60) == -signal.SIGKILL
    assert records.mail(job_id) == ("sending", None)
    records.follow()

    assert records.mail(job_id) == LOST


@pytest.mark.each_database
def test_where_two_follow_one_of_them_takes_nothing(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id, _ = records.begun()
    records.mail(job_id, "sending")
    records.lose(limit=1)
    records.writer.drain()
    change_of = follower.change_of

    def and_the_other_is_first(*given: object, **more: object) -> object:
        change = change_of(*given, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(follower, "change_of", change_of)
        JobRecordFollower(records.client, records.database).step()  # type: ignore[arg-type]
        return change

    monkeypatch.setattr(follower, "change_of", and_the_other_is_first)
    assert records.follower.step() is False
    assert records.mail(job_id) == LOST


@pytest.mark.each_database
def test_what_no_column_can_hold_is_made_to_fit(records: Records) -> None:
    job_id, delivery = records.begun()
    records.mail(job_id, "delayed")
    records.give_up(job_id, delivery.delivery, error_type="E" * 300)
    records.client.hset(QueueKeys("email:send").job(job_id), "error", "a NUL\0 and then " + "x" * 5_000)

    records.follow()

    status, error = records.mail(job_id)
    assert status == "failed" and error is not None and error.startswith("E" * 200 + ": a NUL\ufffd and")
    assert len(error) < 2_300


@pytest.mark.each_database
def test_a_record_that_the_database_refuses_holds_up_no_other(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = records.enqueue(delay_ms=60_000), records.enqueue(delay_ms=60_000)
    for job_id in (bad, good):
        records.mail(job_id, "delayed")
        records.cancel(job_id)
    (mail,) = (kind for kind in KINDS if kind.table is EmailQueue)

    def facts_of(row: Any, now: JobNow) -> Facts | None:
        # No column takes this: it has to have a value.
        facts = mail.facts_of(row, now)
        return facts and facts | {"subject": None if row.job_id == bad else row.subject}

    kinds = [dataclasses.replace(mail, columns=("error", "subject"), facts_of=facts_of)]
    records.follower = JobRecordFollower(records.client, records.database, kinds=kinds)  # type: ignore[arg-type]
    records.follow()

    assert records.mail(bad) == ("delayed", None)
    assert records.mail(good) == CANCELLED
    assert records.follower.step() is False, "it has gone on"
