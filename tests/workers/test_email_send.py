"""email:send against a real SMTP server that accepts, refuses, delays, hangs up and never answers."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import redis
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from dramatiq.middleware import TimeLimitExceeded
from pydantic import ValidationError
from sqlalchemy import select

from teknav_ops.jobs.queries import JobQueries
from teknav_ops.outbound.mail import MailDelayed, MailRefused, OutboxMailer, SmtpMailer
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.producer import Producer
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import ScriptRunner
from teknav_ops.retry_policies import RetryPolicy
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import EmailQueue
from teknav_ops.topology import TOPOLOGY, Topology
from tests.support.ports import free_port, listen, port_of
from tests.support.real_engine import working
from tests.support.waiting import until
from tests.workers.conftest import MakeContext
from workers.email_send import send_email
from workers.services import Services
from workers.services.mail_message import AddressNotDeliverable, compose


class Inbox:
    """Keeps what arrives; `answers` overrules the answer at a step."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.raw: list[bytes] = []
        self.answers: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802
        if "RCPT" in self.answers:
            return self.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        if self.answers.get("DATA") == "hang up":
            server.transport.close()
            return "250 OK"
        if "DATA" in self.answers:
            return self.answers["DATA"]
        self.raw.append(envelope.content)
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return self.answers.get("accepted", "250 kept as 1")


class RudeServer(SMTP):
    """Answers QUIT with a refusal."""

    async def smtp_QUIT(self, arg: str) -> None:  # noqa: N802
        await self.push("421 too busy to say goodbye")


class RudeController(Controller):
    def factory(self) -> SMTP:
        return RudeServer(self.handler)


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
def smtp(inbox: Inbox, services: Services) -> Iterator[Services]:
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    yield dataclasses.replace(services, mailer=SmtpMailer(f"smtp+plain://127.0.0.1:{controller.port}"))
    controller.stop()


def order(**facts: Any) -> SendEmail:
    return SendEmail(**{"to": "reader@example.com", "subject": "سلام دنیا", "text": "متن ساده", **facts})


def row(services: Services, job_id: str) -> EmailQueue:
    with services.database.session() as session:
        return session.scalars(select(EmailQueue).where(EmailQueue.job_id == job_id)).one()


def test_a_mail_arrives_with_text_html_and_headers(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    ctx = make_context(services=smtp)

    send_email(order(html="<p>متن</p>", language="fa", unsubscribe_url="https://teknav.example/u"), ctx)

    (mail,) = inbox.mails
    assert mail["Subject"] == "سلام دنیا"
    assert mail["Message-ID"] == f"<{ctx.job_id}@teknav.example>"
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail["Content-Language"] == "fa" and mail.get_content_type() == "multipart/alternative"
    text, page = (part.get_content() for part in mail.iter_parts())  # type: ignore[attr-defined]
    assert "متن ساده" in text
    assert 'dir="rtl"' in page and 'lang="fa"' in page
    sent = row(smtp, ctx.job_id)
    assert (sent.status, sent.server_answer, sent.attempt_count) == ("sent", "250 kept as 1", 1)
    assert SqlEffects(smtp.database).find(ctx.job_id) is not None


def test_running_twice_sends_once(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    ctx = make_context(services=smtp)
    send_email(order(), ctx)
    send_email(order(), ctx)

    assert len(inbox.mails) == 1


@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("RCPT", "550 no such user", MailRefused),
        ("DATA", "554 looks like spam", MailRefused),
        ("RCPT", "451 greylisted, come back", MailDelayed),
        ("DATA", "421 too busy", MailDelayed),
        ("DATA", "hang up", MailDelayed),
    ],
)
@pytest.mark.each_database
def test_the_servers_refusal_is_sorted_and_recorded(
    smtp: Services, inbox: Inbox, make_context: MakeContext, step: str, answer: str, error: type[Exception]
) -> None:
    inbox.answers[step] = answer
    ctx = make_context(services=smtp)

    with pytest.raises(error):
        send_email(order(), ctx)

    failed = row(smtp, ctx.job_id)
    # What the engine makes of either is in the test below.
    assert failed.status == ("delayed" if error is MailDelayed else "failed") and error.__name__ in (failed.error or "")
    assert failed.server_answer == (None if answer == "hang up" else answer)
    assert SqlEffects(smtp.database).find(ctx.job_id) is None
    inbox.answers.clear()
    send_email(order(), ctx)
    assert (row(smtp, ctx.job_id).status, row(smtp, ctx.job_id).attempt_count) == ("sent", 2)


def test_a_mail_is_delayed_while_a_retry_waits_and_failed_when_none_is_left(
    services: Services, client: redis.Redis
) -> None:
    mailer = SmtpMailer("smtp://127.0.0.1:1", timeout_seconds=0.3)
    away = dataclasses.replace(services, mailer=mailer)
    patient = RetryPolicy(attempts=2, min_backoff_ms=3_600_000, max_backoff_ms=3_600_000)
    topology = Topology(dataclasses.replace(TOPOLOGY["email:send"], retry=patient))
    queries = JobQueries(client, topology)  # type: ignore[arg-type]
    job = Producer.from_settings(services.settings).enqueue_email_send(to="a@example.com", subject="s", text="t")

    with working(away, [send_email], topology):
        until(lambda: queries.counts("email:send").delayed == 1, what="the retry")
        assert row(services, job.job_id).status == "delayed"
        ScriptRunner(client).run(scripts.promote(QueueKeys("email:send"), job_id=job.job_id, actor="t"))  # type: ignore[arg-type]
        until(lambda: queries.counts("email:send").failed == 1, what="the last attempt")

    kept = row(services, job.job_id)
    assert (kept.status, kept.attempt_count) == ("failed", 2) and "MailDelayed" in (kept.error or "")


class _TooSlow:
    """A server that is still talking when the job's time limit ends."""

    def send(self, *_: Any, **__: Any) -> str:
        raise TimeLimitExceeded

    def reach(self, *_: Any, **__: Any) -> str:
        raise TimeLimitExceeded


@pytest.mark.parametrize(("is_last", "status"), [(False, "delayed"), (True, "failed")])
def test_a_mail_that_its_time_limit_ends_is_not_being_sent_any_more(
    services: Services, make_context: MakeContext, is_last: bool, status: str
) -> None:
    ctx = make_context(services=dataclasses.replace(services, mailer=_TooSlow()))
    with pytest.raises(TimeLimitExceeded):
        send_email(order(), dataclasses.replace(ctx, is_last_try=lambda error: is_last))

    assert (row(services, ctx.job_id).status, row(services, ctx.job_id).error) == (status, "TimeLimitExceeded: ")


@pytest.mark.each_database
def test_a_mail_whose_server_answers_with_a_nul_is_sent_once(
    smtp: Services, inbox: Inbox, make_context: MakeContext
) -> None:
    inbox.answers["accepted"] = "250 kept\0as 1"
    ctx = make_context(services=smtp)
    for _ in range(2):
        assert send_email(order(), ctx)["status"] == "sent"

    assert len(inbox.mails) == 1 and row(smtp, ctx.job_id).server_answer == "250 kept\ufffdas 1"


@pytest.mark.each_database
def test_a_refusal_with_a_nul_is_recorded(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    inbox.answers["DATA"] = "554 no\0thanks"
    ctx = make_context(services=smtp)
    with pytest.raises(MailRefused):
        send_email(order(), ctx)

    assert row(smtp, ctx.job_id).status == "failed" and "no\ufffdthanks" in (row(smtp, ctx.job_id).error or "")


def test_a_mail_of_text_alone_says_its_language(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    send_email(order(language="en"), make_context(services=smtp))

    assert inbox.mails[0]["Content-Language"] == "en" and inbox.mails[0].get_content_type() == "text/plain"


def test_a_server_that_is_not_there_or_never_answers_is_tried_again(
    services: Services, make_context: MakeContext
) -> None:
    with listen() as silent:
        for port in (1, port_of(silent)):
            mailer = SmtpMailer(f"smtp://127.0.0.1:{port}", timeout_seconds=0.3)
            with pytest.raises(MailDelayed):
                send_email(order(), make_context(services=dataclasses.replace(services, mailer=mailer)))


def test_secrets_are_filled_in_at_sending_and_kept_nowhere(
    smtp: Services, inbox: Inbox, make_context: MakeContext
) -> None:
    ctx = make_context(services=smtp)

    summary = send_email(
        order(text="Enter: {{link}}", html="<a>{{link}}</a>", secrets={"link": "https://t/?a=1&b=<2>"}), ctx
    )

    text, page = (part.get_content() for part in inbox.mails[0].iter_parts())  # type: ignore[attr-defined]
    assert "https://t/?a=1&b=<2>" in text
    assert "https://t/?a=1&amp;b=&lt;2&gt;" in page
    assert "https://t/" not in str(vars(row(smtp, ctx.job_id))) + str(summary)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"to": "nobody"}, "to"),
        ({"subject": "hello\r\nBcc: all@example.com"}, "subject"),
        ({"to": "a@example.com\nBcc: b@example.com"}, "to"),
        ({"secrets": {"link": "x"}}, "payload"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_orders_are_refused_before_they_are_queued(facts: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        order(**facts)

    assert field in {str(error["loc"][0]) if error["loc"] else "payload" for error in caught.value.errors()}


def test_the_outbox_keeps_one_whole_file_per_mail(
    services: Services, make_context: MakeContext, tmp_path: Path
) -> None:
    ctx = make_context()
    threads = [threading.Thread(target=send_email.function, args=(order(), ctx)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    (path,) = (tmp_path / "outbox").iterdir()
    assert path.name == f"{ctx.job_id}.eml"
    assert isinstance(services.mailer, OutboxMailer)


def test_a_mail_that_was_taken_stays_sent_whatever_the_server_says_to_quit(
    services: Services, inbox: Inbox, make_context: MakeContext
) -> None:
    controller = RudeController(inbox, hostname="127.0.0.1", port=free_port())
    controller.start()
    mailer = SmtpMailer(f"smtp+plain://127.0.0.1:{controller.port}")
    ctx = make_context(services=dataclasses.replace(services, mailer=mailer))

    send_email(order(), ctx)
    controller.stop()

    assert row(services, ctx.job_id).status == "sent"
    assert len(inbox.mails) == 1


def test_a_late_failure_does_not_undo_what_another_worker_sent(services: Services, make_context: MakeContext) -> None:
    ctx = make_context()

    class Overtaken:
        def send(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
            send_email(order(), ctx)
            raise MailDelayed("too late")

    with pytest.raises(MailDelayed):
        send_email(order(), make_context(ctx.job_id, services=dataclasses.replace(services, mailer=Overtaken())))

    assert (row(services, ctx.job_id).status, row(services, ctx.job_id).error) == ("sent", None)


SECRET = "https://t/?a=1&b=2"


@pytest.mark.parametrize("quoted", [SECRET, "https://t/?a=1&amp;b=2"])
@pytest.mark.parametrize("step", ["DATA", "accepted"])
def test_a_server_that_quotes_a_secret_does_not_get_it_recorded(
    smtp: Services, inbox: Inbox, make_context: MakeContext, step: str, quoted: str
) -> None:
    inbox.answers[step] = f"{554 if step == 'DATA' else 250} seen {quoted}"
    ctx = make_context(services=smtp)
    mail = order(text="{{link}}", html="{{link}}", secrets={"link": SECRET})

    try:
        told = str(send_email(mail, ctx))
    except MailRefused as error:
        told = f"{error} {error.server_answer}"

    assert quoted not in told + str(vars(row(smtp, ctx.job_id)))
    assert "seen ••••" in told


def test_a_secret_is_not_searched_for_other_secrets(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    send_email(order(text="{{a}} {{b}} {{c}}", secrets={"a": "x{{b}}", "b": "y{{a}}"}), make_context(services=smtp))

    assert inbox.mails[0].get_content().strip() == "x{{b}} y{{a}} {{c}}"


def test_what_goes_over_the_wire_suits_strict_servers(smtp: Services, inbox: Inbox, make_context: MakeContext) -> None:
    page = "<p>" + "متن " * 1_000 + "</p>"
    send_email(order(text="سلام\n.\n.dot\n", html=page, subject="سلام " * 60), make_context(services=smtp))

    (raw,) = inbox.raw
    assert raw.isascii()
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    text, _ = (part.get_content() for part in inbox.mails[0].iter_parts())  # type: ignore[attr-defined]
    assert text.split() == ["سلام", ".", ".dot"]
    assert inbox.mails[0]["Subject"] == "سلام " * 60


@pytest.mark.parametrize("length", [10, 150, 1_800])
def test_the_unsubscribe_link_is_left_literal(length: int) -> None:
    url = "https://teknav.example/u?" + "t" * length

    raw = compose(order(unsubscribe_url=url), sender="T <t@example.com>", message_id="<1@example.com>").as_bytes()

    assert f"List-Unsubscribe: <{url}>\r\n".encode() in raw.replace(b"\r\n ", b"")


@pytest.mark.parametrize(
    ("to", "ascii_to"), [("a@bücher.de", "a@xn--bcher-kva.de"), ("a@نمونه.com", "a@xn--hhbbbed.com")]
)
def test_a_domain_in_any_script_is_written_as_dns_knows_it(
    smtp: Services, inbox: Inbox, make_context: MakeContext, to: str, ascii_to: str
) -> None:
    send_email(order(to=to), make_context(services=smtp))

    assert inbox.mails[0]["To"] == ascii_to


def test_an_address_that_mail_servers_cannot_take_is_refused(smtp: Services, make_context: MakeContext) -> None:
    ctx = make_context(services=smtp)

    # As jobs that were enqueued by an earlier version: today the payload is refused.
    with pytest.raises(AddressNotDeliverable):
        send_email(order().model_copy(update={"to": "کاربر@example.com"}), ctx)

    assert row(smtp, ctx.job_id).status == "failed"


class _Logins:
    """Remembers who tried to log in, and refuses everyone."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def __call__(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.tried.append(mechanism)
        return AuthResult(success=False, handled=False)


@pytest.mark.parametrize(("scheme", "is_tried"), [("smtp+plain", True), ("smtp", False)])
def test_a_login_that_fails_is_tried_again_and_no_password_goes_out_in_clear_unasked(
    services: Services, make_context: MakeContext, inbox: Inbox, scheme: str, is_tried: bool
) -> None:
    logins = _Logins()
    controller = Controller(inbox, hostname="127.0.0.1", port=free_port(), authenticator=logins, auth_require_tls=False)
    controller.start()
    mailer = SmtpMailer(f"{scheme}://sara:hunter2@127.0.0.1:{controller.port}")
    ctx = make_context(services=dataclasses.replace(services, mailer=mailer))
    try:
        with pytest.raises(MailDelayed) as caught:
            send_email(order(), ctx)
    finally:
        controller.stop()

    assert bool(logins.tried) == is_tried
    assert "hunter2" not in str(caught.value) + str(row(services, ctx.job_id).error)
    assert inbox.mails == []
