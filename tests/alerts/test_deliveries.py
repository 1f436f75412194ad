"""Messages over real HTTP and SMTP: signed, retried, in order, and never lost when their sender is killed."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import func, select, update
from standardwebhooks import Webhook

from teknav_ops.alerts.channels import open_channels
from teknav_ops.alerts.deliveries import Deliveries
from teknav_ops.alerts.ledger import Ledger, prune
from teknav_ops.alerts.notices import AlertState, opened_notice
from teknav_ops.alerts.queries import AlertQueries
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Alert, AlertDelivery
from teknav_ops.storage.tables.base import utc_now
from tests.alerts.conftest import deliver, told
from tests.support import warm_python
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.ports import free_port
from tests.support.smtp_receiver import SmtpReceiver
from tests.support.waiting import ANSWER_SECONDS

ROOT = Path(__file__).parents[2]
SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def alert(queue: str = "test:work", rule: str = "dlq-inflow") -> AlertState:
    return AlertState(
        rule=rule, kind="dlq_inflow", severity="page", queue=queue, since_at=utc_now(), opened_at=utc_now(), value=3.0,
        unit="jobs", message=f"{queue}: 3 new dead letters – نامه‌های مرده",
    )  # fmt: skip


def ledger(database: Database, *names: str) -> Ledger:
    return Ledger(database, names or ["webhook"], site_url=None)


def make_due(database: Database) -> None:
    """As if the pause before the next attempt had passed."""
    with database.session() as session:
        session.execute(update(AlertDelivery).values(next_attempt_at=utc_now() - timedelta(seconds=1)))


def rows(database: Database) -> list[AlertDelivery]:
    with database.reading() as session:
        return list(session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)))


def test_a_post_is_signed_and_can_be_verified_by_any_standard_webhooks_library(receiver: HttpReceiver) -> None:
    (channel,) = open_channels(Settings(alert_webhook_url=f"{receiver.url}/hook", alert_webhook_secret=SECRET))  # type: ignore[arg-type]

    assert channel.send(opened_notice([alert()], at=utc_now(), site_url="https://ops.example")) == "200 ok"

    (request,) = receiver.requests
    body = Webhook(SECRET).verify(request.body, request.headers)
    assert body["type"] == "alert.opened" and "نامه‌های مرده" in body["text"]
    assert body["data"]["url"] == "https://ops.example/dashboard/owner/queues/test%3Awork"
    assert body["data"]["runbook"] == "docs/runbook/alerts/DlqInflow.md"


def test_a_mail_is_plain_readable_and_named_for_its_message(inbox: SmtpReceiver) -> None:
    settings = Settings(alert_mail_to=("a@example.com", "b@example.com"), smtp_url=inbox.url)  # type: ignore[arg-type]
    notice = opened_notice([alert()], at=utc_now(), site_url=None)

    assert [channel.send(notice) for channel in open_channels(settings)] == ["250 kept", "250 kept"]

    first, second = inbox.mails
    assert (first["To"], second["To"]) == ("a@example.com", "b@example.com")
    assert first["Subject"] == "[page] dlq-inflow: test:work"
    assert first["Message-ID"] == f"<{notice.message_id}@teknav.example>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert first.get_content().splitlines()[1] == alert().message


def test_a_message_is_the_same_message_whoever_tells_it_when() -> None:
    one, other = alert(), alert("test:other")
    at = utc_now()

    first = opened_notice([one, other], at=at, site_url=None)
    again = opened_notice([other, one], at=at + timedelta(hours=1), site_url="https://x.example")

    assert first.message_id == again.message_id
    assert first.message_id != opened_notice([one], at=at, site_url=None).message_id


def test_a_long_list_of_queues_is_cut_in_the_text_and_whole_in_the_data() -> None:
    notice = opened_notice([alert(f"test:{number}") for number in range(40)], at=utc_now(), site_url=None)

    assert len(notice.text.splitlines()) == 15 and "and 28 more" in notice.text
    assert len(notice.alerts) == 40


@pytest.mark.parametrize("answer", [Answer(500, b"broken"), Answer(302), Answer(404), Answer(hangs_up=True)])
@pytest.mark.each_database
def test_what_was_not_taken_is_tried_again_later_with_the_same_id(
    database: Database, deliveries: Deliveries, receiver: HttpReceiver, answer: Answer
) -> None:
    receiver.answers = [answer, Answer()]
    ledger(database).write([alert()], {}, utc_now())
    deliver(deliveries)
    assert len(receiver.requests) == 1
    (waiting,) = AlertQueries(database).undelivered()
    assert waiting.attempt_count == 1 and waiting.error and waiting.next_attempt_at > utc_now()

    make_due(database)
    deliver(deliveries)

    assert len(told(receiver)) == 1 and len(receiver.requests) == 2
    assert AlertQueries(database).undelivered() == []
    (sent,) = rows(database)
    assert (sent.attempt_count, sent.answer, sent.error) == (2, "200 ok", None) and sent.sent_at is not None


def test_pauses_grow_up_to_a_quarter_of_an_hour_and_after_a_day_it_is_given_up(
    database: Database, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(503)]
    ledger(database).write([alert()], {}, utc_now())
    pauses = []
    for _ in range(8):
        make_due(database)
        deliver(deliveries)
        pauses.append((rows(database)[0].next_attempt_at - utc_now()).total_seconds())
    assert pauses == pytest.approx([30, 60, 120, 240, 480, 900, 900, 900], abs=5)

    with database.session() as session:
        session.execute(update(AlertDelivery).values(created_at=utc_now() - timedelta(hours=25)))
    make_due(database)
    deliver(deliveries)
    make_due(database)
    deliver(deliveries)

    assert len(receiver.requests) == 9
    (given_up,) = AlertQueries(database).undelivered()
    assert given_up.given_up_at is not None and given_up.error == "the receiver answered 503 ok"


def test_a_channel_that_is_down_neither_holds_up_another_nor_is_asked_for_every_message(
    database: Database, inbox: SmtpReceiver
) -> None:
    settings = {"alert_webhook_url": f"http://127.0.0.1:{free_port()}", "alert_mail_to": ("a@example.com",)}
    channels = open_channels(Settings(**settings, smtp_url=inbox.url))  # type: ignore[arg-type]
    for rule in ("one", "two", "three"):
        ledger(database, *(channel.name for channel in channels)).write([alert(rule=rule)], {}, utc_now())

    Deliveries(database, channels).step()

    assert len(inbox.mails) == 3
    attempts = {row.rule: row.attempt_count for row in rows(database) if row.channel == "webhook"}
    assert attempts == {"one": 1, "two": 0, "three": 0}


def test_the_end_of_an_alert_is_told_after_its_beginning(
    database: Database, deliveries: Deliveries, receiver: HttpReceiver
) -> None:
    receiver.answers = [Answer(500), Answer(), Answer()]
    opened = alert()
    ledger(database).write([opened], {}, utc_now())
    deliver(deliveries)
    ledger(database).write([], {opened.key: "over"}, utc_now())
    deliver(deliveries)
    assert len(receiver.requests) == 1

    make_due(database)
    deliver(deliveries)

    assert [event for event, _, _ in told(receiver)] == ["alert.opened", "alert.resolved"]


def test_a_mail_server_that_refuses_is_asked_again(database: Database, inbox: SmtpReceiver) -> None:
    channels = open_channels(Settings(alert_mail_to=("a@example.com",), smtp_url=inbox.url))  # type: ignore[arg-type]
    outbox = Deliveries(database, channels)
    ledger(database, "mail:a@example.com").write([alert()], {}, utc_now())
    inbox.refusal = "451 come back"
    deliver(outbox)
    assert "451 come back" in str(AlertQueries(database).undelivered()[0].error)

    inbox.refusal = ""
    make_due(database)
    deliver(outbox)

    assert len(inbox.mails) == 1


@pytest.mark.parametrize(("moment", "posts"), [("before", 1), ("after", 2)])
@pytest.mark.each_database
def test_a_sender_that_is_killed_around_a_message_neither_loses_nor_repeats_it(
    moment: str, posts: int, database: Database, database_url: str, receiver: HttpReceiver, tmp_path: Path
) -> None:
    ledger(database).write([alert()], {}, utc_now())

    assert run_sender(moment, database_url, receiver, tmp_path) == -signal.SIGKILL
    assert AlertQueries(database).undelivered()[0].attempt_count == 1
    make_due(database)
    assert run_sender("never", database_url, receiver, tmp_path) == 0

    # What went out twice carries one id, by which the receiver knows.
    assert len(receiver.requests) == posts and len(told(receiver)) == 1
    assert AlertQueries(database).undelivered() == []


def run_sender(moment: str, url: str, receiver: HttpReceiver, folder: Path) -> int:
    environment = {**os.environ, "TEKNAV_DATABASE_URL": url, "TEKNAV_DATA_DIR": str(folder),
                   "TEKNAV_ALERT_WEBHOOK_URL": receiver.url}  # fmt: skip
    command = [sys.executable, "-m", "tests.alerts.sender", moment]
    return warm_python.run(command, cwd=ROOT, env=environment, check=False, timeout=ANSWER_SECONDS).returncode


@pytest.mark.each_database
def test_two_senders_at_once_send_once(database: Database, channels: list[Any], receiver: HttpReceiver) -> None:
    ledger(database).write([alert()], {}, utc_now())
    first, second = Deliveries(database, channels), Deliveries(database, channels)
    due = second._due(utc_now())

    first.step()

    assert not any(second._claim(delivery) for delivery in due)
    assert len(receiver.requests) == 1


@pytest.mark.each_database
def test_what_is_old_is_forgotten_and_what_is_open_is_not(database: Database) -> None:
    book = ledger(database)
    book.write([alert(), alert("test:other")], {}, utc_now())
    book.write([], {alert().key: "over"}, utc_now())
    long_ago = utc_now() - timedelta(days=200)
    with database.session() as session:
        session.execute(update(Alert).values(opened_at=long_ago))
        session.execute(update(Alert).where(Alert.resolved_at.is_not(None)).values(resolved_at=long_ago))
        session.execute(update(AlertDelivery).values(created_at=long_ago))

    assert prune(database) is False

    with database.reading() as session:
        assert session.scalars(select(Alert.queue)).all() == ["test:other"]
        assert session.scalar(select(func.count()).select_from(AlertDelivery)) == 0


def test_a_webhook_without_its_secret_is_not_signed(receiver: HttpReceiver, client: redis.Redis) -> None:
    (channel,) = open_channels(Settings(alert_webhook_url=receiver.url))
    channel.send(opened_notice([alert()], at=utc_now(), site_url=None))

    (request,) = receiver.requests
    assert "webhook-signature" not in request.headers and request.headers["webhook-id"].startswith("alert_")
    assert json.loads(request.body)["data"]["alerts"][0]["value"] == 3.0
