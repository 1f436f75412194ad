"""Who is told of a run, over a real SMTP server and a real HTTP server, and what becomes of it when they refuse."""

from __future__ import annotations

import base64
import errno
import os
import secrets
import threading
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook

from teknav_ops.reports import delivery
from teknav_ops.reports.delivery import Courier
from teknav_ops.reports.runs import Number, RunMeta
from teknav_ops.reports.schedules import Deliver
from teknav_ops.reports.store import ReportStore
from teknav_ops.settings import Settings
from tests.reports.test_store import publish
from tests.support.http_receiver import Answer, HttpReceiver
from tests.support.ports import free_port
from tests.support.smtp_receiver import SmtpReceiver
from tests.support.waiting import until

SECRET = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture
def store(tmp_path: Path) -> ReportStore:
    return ReportStore(tmp_path)


@pytest.fixture
def meta(store: ReportStore) -> RunMeta:
    """A published run with a breached limit."""
    number = Number(name="نامه‌های مرده", value=12, unit="jobs", at_most=10, is_breached=True)
    made = publish(store.root, "health", error="dead letters: 12 is more than 10 <b>")
    made = made.model_copy(update={"status": "limit", "numbers": (number,)})
    store.rewrite(made)
    return made


def courier(store: ReportStore, inbox: SmtpReceiver | None = None, **settings: object) -> Courier:
    smtp = {"smtp_url": inbox.url} if inbox else {}
    made = Settings(alert_site_url="https://ops.example/", **smtp, **settings)  # type: ignore[arg-type]
    return Courier(made, store, pauses_seconds=(0.0, 0.0))


def test_a_post_holds_the_numbers_and_the_address_and_is_signed(
    store: ReportStore, meta: RunMeta, receiver: HttpReceiver
) -> None:
    told = courier(store, report_webhook_secret=SECRET).deliver(meta, Deliver(webhook=f"{receiver.url}/hook"))

    (request,) = receiver.requests
    body = Webhook(SECRET).verify(request.body, request.headers)
    assert (body["type"], body["data"]["status"], body["data"]["error"]) == ("report.limit", "limit", meta.error)
    (number,) = body["data"]["numbers"]
    assert (number["name"], number["value"], number["at_most"], number["is_breached"]) == (
        "نامه‌های مرده", 12, 10, True,
    )  # fmt: skip
    assert body["data"]["url"] == f"https://ops.example/reports/health/{meta.run}/"
    assert request.headers["webhook-id"] == f"report_health_{meta.run}"
    assert [(to.channel, to.status, to.attempt_count) for to in told.deliveries] == [("webhook", "sent", 1)]
    assert store.get("health") == told


def test_a_mail_has_the_numbers_as_a_table_and_the_page_where_it_is_asked_for(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver
) -> None:
    told = courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com", "b@example.com"), attach=True))

    first, second = inbox.mails
    assert (first["To"], second["To"]) == ("a@example.com", "b@example.com")
    assert first["Subject"] == "What of health? <b> [limit breached]" and first["Auto-Submitted"] == "auto-generated"
    plain, html = first.get_body(("plain",)), first.get_body(("html",))
    assert plain is not None and html is not None
    assert "نامه‌های مرده: 12 jobs (at most 10)" in plain.get_content()
    assert "12 is more than 10 &lt;b&gt;" in html.get_content() and f"/reports/health/{meta.run}/" in html.get_content()
    (attached,) = first.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("health.html", "<p>page</p>")
    assert [to.status for to in told.deliveries] == ["sent", "sent"]


def test_an_attached_page_takes_the_charts_script_along(store: ReportStore, meta: RunMeta, inbox: SmtpReceiver) -> None:
    (store.root / "assets").mkdir()
    (store.root / "assets" / "plotly-9.9.9.min.js").write_text("plotly()")
    page = store.file("health", meta.run, "report.html")
    page.write_text('<script src="../../assets/plotly-9.9.9.min.js"></script>')

    courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",), attach=True))

    (attached,) = inbox.mails[0].iter_attachments()
    assert attached.get_content() == "<script>plotly()</script>"


def test_what_is_not_taken_is_tried_three_times_and_noted(
    store: ReportStore, meta: RunMeta, receiver: HttpReceiver, inbox: SmtpReceiver
) -> None:
    receiver.answers = [Answer(500, b"broken"), Answer(200)]
    inbox.refusal = "451 later"
    told = courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",), webhook=receiver.url))

    post, mail = told.deliveries
    assert (post.status, post.attempt_count) == ("sent", 2)
    assert len({request.headers["webhook-id"] for request in receiver.requests}) == 1
    assert (mail.channel, mail.status, mail.attempt_count) == ("mail:a@example.com", "failed", 3)
    assert "451" in mail.words
    assert store.get("health").deliveries == (post, mail)


def test_a_full_disk_keeps_nobody_from_being_told(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "rewrite", full)
    (mail,) = courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",))).deliveries

    assert mail.status == "sent" and len(inbox.mails) == 1


def test_a_page_that_no_server_would_take_is_not_attached(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "ATTACHED_LIMIT_BYTES", 10)
    courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",), attach=True))

    (mail,) = inbox.mails
    assert not list(mail.iter_attachments())
    assert all("not attached" in part.get_content() for part in mail.iter_parts())  # type: ignore[attr-defined]


def test_a_page_that_cannot_be_attached_keeps_the_next_from_nothing(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver, receiver: HttpReceiver
) -> None:
    (store.folder(meta.name, meta.run) / "report.html").write_bytes(b"\xff half a page")
    to = Deliver(mail=("a@example.com", "b@example.com"), attach=True)
    first, second = courier(store, inbox).deliver(meta, to).deliveries

    assert (first.status, second.status) == ("failed", "failed") and first.attempt_count == 1
    assert "UnicodeDecodeError" in first.words


def test_every_attempt_is_a_sign_of_life(store: ReportStore, meta: RunMeta, receiver: HttpReceiver) -> None:
    receiver.answers = [Answer(status=500)]
    ticks: list[tuple[str, int]] = []

    def tick(doing: str) -> None:
        ticks.append((doing, len(receiver.requests)))

    courier(store).deliver(meta, Deliver(webhook=receiver.url), tick)

    assert ticks == [("is sent: webhook", sent) for sent in range(3)]


def test_a_mail_that_is_refused_for_good_is_not_tried_again(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver
) -> None:
    inbox.refusal = "554 never"
    (mail,) = courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",))).deliveries
    assert (mail.status, mail.attempt_count) == ("failed", 1)


def test_a_receiver_that_is_away_does_not_keep_the_next_from_being_told(
    store: ReportStore, meta: RunMeta, inbox: SmtpReceiver
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/"
    told = courier(store, inbox).deliver(meta, Deliver(mail=("a@example.com",), webhook=nowhere))

    assert [(to.channel, to.status) for to in told.deliveries] == [
        ("webhook", "failed"),
        ("mail:a@example.com", "sent"),
    ]
    assert len(inbox.mails) == 1


def test_whoever_looks_while_it_is_sent_sees_that_it_is_not_known_to_be(
    store: ReportStore, meta: RunMeta, receiver: HttpReceiver
) -> None:
    """A sender that dies now leaves just this behind."""
    looked_at = threading.Event()
    receiver.answers = [Answer(after=looked_at)]
    sending = threading.Thread(target=lambda: courier(store).deliver(meta, Deliver(webhook=receiver.url)))
    sending.start()
    until(lambda: receiver.requests, what="the post")

    assert [(to.channel, to.status) for to in store.get("health").deliveries] == [("webhook", "pending")]
    looked_at.set()
    sending.join()
    assert [to.status for to in store.get("health").deliveries] == ["sent"]
