"""otp:send: codes arrive in time, not too often, and are seen nowhere else."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq.middleware import TimeLimitExceeded
from pydantic import SecretStr, ValidationError
from sqlalchemy import select, text, update

from teknav_ops.errors import InvalidPayload, PermanentError, Throttled, TransientError
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.outbound.mail import MailDelayed, MailRefused
from teknav_ops.payloads.otp_send import SendOtp
from teknav_ops.platform.job_records.kinds import DOUBT
from teknav_ops.redis_state.keys import EVENTS_CHANNEL
from teknav_ops.secret_key import digest
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import Base, OtpLog
from tests.support import warm_python
from tests.support.engine import dump
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.real_engine import topology_of, working
from tests.support.virtual_time import Clock
from tests.support.waiting import until
from tests.workers.conftest import MakeContext, MakeServices
from workers.otp_send import OtpExpired, OtpLimited, mask_recipient, message_text, send_otp
from workers.services import Services
from workers.services.sms import NumberBlocked, SmsDelayed, SmsRefused, SmsThrottled

CODE, PHONE, MAIL = "482913", "+989121234567", "reader@example.com"
PERSIAN_CODE = "۴۸۲۹۱۳"


@pytest.fixture
def gateway() -> Iterator[HttpReceiver]:
    with HttpReceiver() as receiver:
        yield receiver


@pytest.fixture
def sms_services(make_services: MakeServices, gateway: HttpReceiver) -> Services:
    return make_services(sms_url=f"{gateway.url}/messages", sms_token="gateway-token")


def order(**facts: Any) -> SendOtp:
    soon = datetime.now(UTC) + timedelta(minutes=5)
    return SendOtp(**{"channel": "sms", "recipient": PHONE, "code": CODE, "expires_at": soon, **facts})


def row(services: Services, job_id: str) -> OtpLog:
    with services.database.reading() as session:
        return session.scalars(select(OtpLog).where(OtpLog.job_id == job_id)).one()


class _TooSlow:
    def send(self, *_: Any, **__: Any) -> str:
        raise TimeLimitExceeded


def test_a_code_that_its_time_limit_ends_is_not_being_sent_any_more(
    sms_services: Services, make_context: MakeContext
) -> None:
    ctx = make_context(services=dataclasses.replace(sms_services, sms=_TooSlow()))
    with pytest.raises(TimeLimitExceeded):
        send_otp(order(), ctx)

    assert row(sms_services, ctx.job_id).status == "delayed"


def test_a_code_arrives_by_text_message(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext
) -> None:
    ctx = make_context(services=sms_services)
    send_otp(order(), ctx)

    (request,) = gateway.requests
    sent = json.loads(request.body)
    assert (sent["to"], sent["reference"], sent["from"]) == (PHONE, ctx.job_id, "TekNav")
    assert CODE in sent["text"] and "تک‌ناو" in sent["text"] and sent["text"].endswith(f"\n@teknav.example #{CODE}")
    assert request.headers["authorization"] == "Bearer gateway-token"
    kept = row(sms_services, ctx.job_id)
    assert (kept.status, kept.attempt_count, kept.recipient_masked) == ("sent", 1, "+98•••••4567")
    assert kept.sent_at is not None and SqlEffects(sms_services.database).find(ctx.job_id)


def test_a_code_arrives_by_mail(services: Services, make_context: MakeContext, tmp_path: Path) -> None:
    ctx = make_context()
    send_otp(order(channel="mail", recipient=MAIL, language="en"), ctx)

    (mail,) = (tmp_path / "outbox").glob("*.eml")
    assert f"@teknav.example #{CODE}" in mail.read_text() and "Your code to sign in" in mail.read_text()
    assert row(services, ctx.job_id).recipient_masked == "r•••@example.com"


IDN = ("reader@نمونه.ایران", "reader@xn--hhbbbed.xn--mgba3a4f16a")


def test_a_code_reaches_a_domain_in_any_script_and_nothing_keeps_it_in_clear(
    services: Services, make_context: MakeContext
) -> None:
    told: list[str] = []

    class Quoting:
        def send(self, message: EmailMessage, *, recipient: str, **_: Any) -> str:
            told.extend([recipient, str(message["To"])])
            return f"250 for <{recipient}>"

    ctx = make_context(services=dataclasses.replace(services, mailer=Quoting()))
    send_otp(order(channel="mail", recipient=IDN[0]), ctx)

    assert told == [IDN[1], IDN[1]]
    assert IDN[1] not in str(row(services, ctx.job_id).provider_answer)


@pytest.mark.parametrize("spellings", [IDN, ("Reader@Example.com", MAIL)])
def test_a_recipient_is_one_however_the_address_is_spelled(
    services: Services, make_context: MakeContext, spellings: tuple[str, str]
) -> None:
    send_otp(order(channel="mail", recipient=spellings[0]), make_context())
    with pytest.raises(OtpLimited):
        send_otp(order(channel="mail", recipient=spellings[1]), make_context())


def test_without_a_gateway_the_message_is_a_file_only_its_owner_can_read(
    services: Services, make_context: MakeContext, tmp_path: Path
) -> None:
    send_otp(order(), make_context("job-1"))
    file = tmp_path / "outbox" / "sms-job-1.txt"
    assert CODE in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["sms-job-1.txt"]


def test_running_twice_sends_once(sms_services: Services, gateway: HttpReceiver, make_context: MakeContext) -> None:
    ctx = make_context(services=sms_services)
    send_otp(order(), ctx)
    send_otp(order(), ctx)
    assert len(gateway.requests) == 1


def test_an_expired_code_is_not_sent(sms_services: Services, gateway: HttpReceiver, make_context: MakeContext) -> None:
    ctx = make_context(services=sms_services)
    with pytest.raises(OtpExpired) as raised:
        send_otp(order(expires_at=datetime.now(UTC) - timedelta(seconds=1)), ctx)

    assert isinstance(raised.value, PermanentError)
    assert gateway.requests == [] and row(sms_services, ctx.job_id).status == "expired"


@pytest.mark.parametrize(
    ("answer", "error", "sort"),
    [
        (Answer(status=400), SmsRefused, PermanentError),
        (Answer(status=404), NumberBlocked, PermanentError),
        (Answer(status=422), NumberBlocked, PermanentError),
        (Answer(status=401), SmsDelayed, TransientError),
        (Answer(status=403), SmsDelayed, TransientError),
        (Answer(status=500), SmsDelayed, TransientError),
        (Answer(status=302, headers={"Location": "http://x.example"}), SmsDelayed, TransientError),
        (Answer(hangs_up=True), SmsDelayed, TransientError),
        (Answer(status=429, headers={"Retry-After": "2"}), SmsThrottled, Throttled),
    ],
    ids=lambda value: str(getattr(value, "status", "")) or value.__name__,
)
def test_the_gateways_refusal_is_sorted_and_recorded(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext, answer: Answer, error: Any, sort: Any
) -> None:
    gateway.answers = [answer]
    ctx = make_context(services=sms_services)
    with pytest.raises(error) as raised:
        send_otp(order(), ctx)

    assert isinstance(raised.value, sort) and "gateway-token" not in str(raised.value)
    kept = row(sms_services, ctx.job_id)
    assert kept.status == ("failed" if sort is PermanentError else "delayed") and (kept.error or "").startswith(
        error.__name__
    )
    gateway.answers = [Answer()]
    send_otp(order(), ctx)
    assert (row(sms_services, ctx.job_id).status, row(sms_services, ctx.job_id).attempt_count) == ("sent", 2)


def test_a_pause_beyond_the_codes_life_ends_the_job(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext
) -> None:
    gateway.answers = [Answer(status=429, headers={"Retry-After": "400"})]
    ctx = make_context(services=sms_services)
    with pytest.raises(OtpExpired, match="expires before the next try: SmsThrottled"):
        send_otp(order(), ctx)
    assert row(sms_services, ctx.job_id).status == "expired"


@pytest.mark.parametrize("status", [200, 400])
def test_a_code_that_is_quoted_where_the_answer_is_cut_is_masked_and_null_is_dropped(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext, status: int
) -> None:
    gateway.answers = [Answer(status, b"x" * 293 + b"\0 " + CODE.encode() + b" " * 200 + CODE.encode())]
    ctx = make_context(services=sms_services)
    if status == 200:
        send_otp(order(), ctx)
    else:
        with pytest.raises(SmsRefused):
            send_otp(order(), ctx)
    kept = f"{row(sms_services, ctx.job_id).provider_answer} {row(sms_services, ctx.job_id).error}"
    assert not any(CODE[:length] in kept for length in (3, 4, 5, 6)) and "\0" not in kept


@pytest.mark.parametrize("pause", ["inf", "nan", "1e20", "soon"])
def test_a_senseless_pause_is_replaced(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext, pause: str
) -> None:
    gateway.answers = [Answer(429, headers={"Retry-After": pause})]
    ctx = make_context(services=sms_services)
    with pytest.raises((SmsThrottled, OtpExpired)):
        send_otp(order(), ctx)
    assert row(sms_services, ctx.job_id).status in ("delayed", "expired")


def test_a_gateway_that_is_not_there_or_too_slow_is_tried_again(
    make_services: MakeServices, make_context: MakeContext, gateway: HttpReceiver
) -> None:
    gone = make_services(sms_url="http://127.0.0.1:9/")
    with pytest.raises(SmsDelayed):
        send_otp(order(), make_context(services=gone))


@pytest.mark.parametrize(("problem", "error"), [(MailRefused, MailRefused), (MailDelayed, MailDelayed)])
def test_a_mail_servers_refusal_is_recorded_without_the_address(
    services: Services, make_context: MakeContext, problem: Any, error: Any
) -> None:
    class Refusing:
        def send(self, *_: Any, **__: Any) -> str:
            raise problem(f"550 <{MAIL}> unknown, said {CODE}", server_answer=f"550 <{MAIL}> unknown")

    ctx = make_context(services=dataclasses.replace(services, mailer=Refusing()))
    with pytest.raises(error) as raised:
        send_otp(order(channel="mail", recipient=MAIL), ctx)
    texts = f"{raised.value} {raised.value.server_answer} {row(services, ctx.job_id).error}"
    assert MAIL not in texts and CODE not in texts


@pytest.mark.each_database
def test_a_recipient_gets_one_code_a_minute_and_so_many_an_hour(
    make_services: MakeServices, gateway: HttpReceiver, make_context: MakeContext
) -> None:
    services = make_services(sms_url=gateway.url, otp_limit_count=3)
    send_otp(order(), make_context(services=services))
    ctx = make_context(services=services)
    with pytest.raises(OtpLimited, match="at most 3 codes in 3600 s and one in 60 s"):
        send_otp(order(), ctx)
    assert row(services, ctx.job_id).status == "limited"
    send_otp(order(recipient="+14155550123"), make_context(services=services))

    for _ in range(2):
        _age(services, seconds=61)
        send_otp(order(), make_context(services=services))
    _age(services, seconds=61)
    with pytest.raises(OtpLimited):
        send_otp(order(), make_context(services=services))
    _age(services, seconds=3_600)
    send_otp(order(), make_context(services=services))


def _age(services: Services, *, seconds: int) -> None:
    with services.database.session() as session:
        for kept in session.scalars(select(OtpLog)):
            earlier = {"created_at": kept.created_at - timedelta(seconds=seconds),
                       "updated_at": kept.updated_at - timedelta(seconds=seconds)}  # fmt: skip
            session.execute(update(OtpLog).where(OtpLog.id == kept.id).values(**earlier))


@pytest.mark.each_database
@pytest.mark.parametrize("status", ["queued", "failed", "cancelled"])
def test_a_code_that_was_cut_off_as_it_was_sent_counts_as_one_that_may_have_gone_out(
    services: Services, make_context: MakeContext, status: str
) -> None:
    first, second = make_context(), make_context()
    send_otp(order(), first)
    with services.database.session() as session:
        session.execute(update(OtpLog).values(status=status, error=f"WorkerLost: broken; {DOUBT}"))

    with pytest.raises(OtpLimited):
        send_otp(order(), second)


@pytest.mark.each_database
def test_workers_at_once_send_one_code_to_one_recipient(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext
) -> None:
    outcomes: list[str] = []
    start = threading.Barrier(6)

    def send() -> None:
        ctx = make_context(services=sms_services)
        start.wait()
        try:
            send_otp(order(), ctx)
            outcomes.append("sent")
        except OtpLimited:
            outcomes.append("limited")

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["limited"] * 5 + ["sent"] and len(gateway.requests) == 1


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"code": "12a4"}, "4 to 10 ASCII digits"),
        ({"code": "۱۲۳۴"}, "4 to 10 ASCII digits"),
        ({"recipient": "09121234567"}, "phone number such as"),
        ({"channel": "mail", "recipient": "no-address"}, "must be a mail address"),
        ({"expires_at": datetime(2027, 1, 1)}, "timezone"),
        ({"channel": "pigeon"}, "'sms' or 'mail'"),
    ],
)
def test_bad_orders_are_refused_without_quoting_them(facts: dict[str, Any], words: str, producer: Any) -> None:
    with pytest.raises(ValidationError, match=words):
        order(**facts)
    from teknav_ops.payloads.codec import validate

    data = {"channel": "sms", "recipient": PHONE, "code": CODE, "expires_at": "2027-01-01T00:00:00Z", **facts}
    with pytest.raises(InvalidPayload) as raised:
        validate(SendOtp, data, where="otp:send")
    for secret in (data["recipient"], data["code"]):
        assert secret not in str(raised.value)


def test_the_digest_needs_the_key(services: Services, make_services: MakeServices) -> None:
    from cryptography.fernet import Fernet

    other = make_services(secret_key=SecretStr(Fernet.generate_key().decode()))
    ours = digest(services.settings, "otp code", CODE)
    assert ours == digest(services.settings, "otp code", CODE) != digest(services.settings, "otp recipient", CODE)
    assert ours != digest(other.settings, "otp code", CODE)


def test_messages_and_masks() -> None:
    for purpose in ("sign-in", "sign-up", "change-password", "confirm-action"):
        for language in ("fa", "en"):
            subject, words = message_text(order(purpose=purpose, language=language), host="teknav.example")
            assert CODE not in subject and words.splitlines()[-1] == f"@teknav.example #{CODE}"
    assert (mask_recipient("+14155550123"), mask_recipient(MAIL)) == ("+14•••••0123", "r•••@example.com")


@pytest.mark.each_database
def test_the_code_and_the_recipient_are_nowhere_in_clear(
    sms_services: Services, gateway: HttpReceiver, client: redis.Redis, clock: Clock, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Through the real engine, with a gateway that quotes the whole message back, in Persian digits too."""
    caplog.set_level(logging.DEBUG)
    # Five numbers that differ: each gets one refusal of its own. The clock stands still, so none is tried again.
    gateway.echo = True
    gateway.answers = [
        Answer(200, f"taken {CODE} {PERSIAN_CODE} ".encode()), Answer(400, f"bad {PERSIAN_CODE} ".encode()),
        Answer(500, b"broken "), Answer(429, b"slow ", {"Retry-After": "60"}), Answer(404, b"blocked "),
    ]  # fmt: skip
    listener = client.pubsub()
    listener.psubscribe(EVENTS_CHANNEL + "*")
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    numbers = [f"+98912555{number:04}" for number in range(5)]
    with working(sms_services, [send_otp], topology_of("otp:send"), threads=1):
        jobs = [
            sms_services.producer.enqueue_otp(channel="sms", recipient=number, code=CODE, expires_at=soon).job_id
            for number in numbers
        ]
        queries = JobQueries(client, topology_of("otp:send"))  # type: ignore[arg-type]
        until(lambda: all(queries.get("otp:send", job).state in ("completed", "failed", "delayed") for job in jobs))
    states = sorted(queries.get("otp:send", job).state for job in jobs)
    assert states == ["completed", "delayed", "delayed", "failed", "failed"]

    seen = [json.dumps(dump(client), ensure_ascii=False, default=str), caplog.text, *capfd.readouterr()]
    while message := listener.get_message(timeout=0.2):
        seen.append(str(message["data"]))
    with sms_services.database.reading() as session:
        for table in Base.metadata.sorted_tables:
            seen += [str(tuple(line)) for line in session.execute(text(f"select * from {table.name}"))]
    everything = "\n".join(seen)
    listener.close()

    assert len(gateway.requests) == 5 and "otp:send" in everything and jobs[0] in everything
    for secret in (CODE, PERSIAN_CODE, "gateway-token", *numbers, *(number.lstrip("+") for number in numbers)):
        assert secret not in everything


JOB = """
import sys, structlog, datetime
from teknav_ops.engine.processor import JobContext
from teknav_ops.payloads.otp_send import SendOtp
from teknav_ops.settings import Settings
from workers.otp_send import send_otp
from workers.services import open_services
services = open_services(Settings(database_url=sys.argv[1], redis_url="redis://127.0.0.1:9", sms_url=sys.argv[2],
                                  secret_key=sys.argv[3]))
ctx = JobContext(job_id="killed", queue="otp:send", name="send-otp", attempt=1, delivery=1, trace_id="",
                 services=services, log=structlog.get_logger())
soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=5)
send_otp(SendOtp(channel="sms", recipient="+989121234567", code="482913", expires_at=soon), ctx)
"""


@pytest.mark.each_database
def test_a_job_killed_while_the_gateway_answers_is_sent_again_under_the_same_reference(
    sms_services: Services, gateway: HttpReceiver, make_context: MakeContext, database_url: str
) -> None:
    gateway.answers = [Answer(delay_seconds=FOR_EVER), Answer()]
    key = sms_services.settings.secret_key
    assert key is not None
    process = warm_python.Process(
        [sys.executable, "-c", JOB, database_url, gateway.url, key.get_secret_value()], cwd=Path(__file__).parents[2]
    )
    until(lambda: bool(gateway.requests))
    process.kill()
    process.wait()
    assert row(sms_services, "killed").status == "sending"

    send_otp(order(), make_context("killed", delivery=2, services=sms_services))

    assert row(sms_services, "killed").status == "sent"
    assert {json.loads(request.body)["reference"] for request in gateway.requests} == {"killed"}
