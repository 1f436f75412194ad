"""webhooks:deliver against receivers that answer well, badly, slowly, elsewhere or never."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq.middleware import TimeLimitExceeded
from pydantic import ValidationError
from sqlalchemy import select, update
from standardwebhooks import Webhook, WebhookVerificationError

from teknav_ops.access.policy import Operator, Role
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.control import Control
from teknav_ops.errors import InvalidRequest, NotAllowed, PermanentError, Throttled, TransientError, WrongState
from teknav_ops.outbound.addresses import AddressBlocked
from teknav_ops.outbound.http import AnswerTimedOut, HostUnreachable
from teknav_ops.payloads.webhooks_deliver import DeliverWebhook
from teknav_ops.platform.webhook_endpoints import UnknownEndpoint
from teknav_ops.storage.effects import SqlEffects
from teknav_ops.storage.tables import AuditLog, WebhookDeliveryLog, WebhookEndpoint
from tests.support import warm_python
from tests.support.http_receiver import FOR_EVER, Answer, HttpReceiver
from tests.support.waiting import until
from tests.workers.conftest import MakeContext, MakeServices
from workers.services import Services
from workers.webhooks_deliver import (
    EndpointDisabled,
    EventNotSubscribed,
    UnknownWebhookEndpoint,
    WebhookExpired,
    WebhookFailed,
    WebhookRedirected,
    WebhookRefused,
    WebhookThrottled,
    deliver_webhook,
)


@pytest.fixture
def secret(control: Control, receiver: HttpReceiver) -> str:
    return control.webhooks.add("partner", f"{receiver.url}/hooks")


def order(**facts: Any) -> DeliverWebhook:
    return DeliverWebhook(**{"endpoint_id": 1, "event_id": "evt_1", "event_type": "article.published",
                             "occurred_at": datetime.now(UTC), "data": {"title": "نیم‌فاصله"}, **facts})  # fmt: skip


def log(services: Services) -> list[WebhookDeliveryLog]:
    with services.database.reading() as session:
        return list(session.scalars(select(WebhookDeliveryLog).order_by(WebhookDeliveryLog.id)))


def endpoint(services: Services) -> WebhookEndpoint:
    with services.database.reading() as session:
        return session.get_one(WebhookEndpoint, 1)


def change(services: Services, **facts: Any) -> None:
    with services.database.session() as session:
        session.execute(update(WebhookEndpoint).values(**facts))


def test_an_event_arrives_signed_as_the_published_library_verifies(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    ctx = make_context()
    deliver_webhook(order(), ctx)

    (request,) = receiver.requests
    said = Webhook(secret).verify(request.body, request.headers)
    assert (said["type"], said["data"], request.headers["webhook-id"]) == (
        "article.published",
        {"title": "نیم‌فاصله"},
        "evt_1",
    )
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(request.body + b" ", request.headers)
    (attempt,) = log(services)
    assert (attempt.outcome, attempt.status_code, attempt.answer, attempt.address) == (
        "delivered",
        200,
        "ok",
        "127.0.0.1",
    )
    assert attempt.duration_ms is not None and attempt.host == "127.0.0.1"
    assert endpoint(services).last_success_at and SqlEffects(services.database).find(ctx.job_id)


def test_a_type_that_the_endpoint_did_not_ask_for_is_not_sent(
    services: Services, receiver: HttpReceiver, control: Control, make_context: MakeContext
) -> None:
    control.webhooks.add("partner", f"{receiver.url}/hooks", event_types=["article.published", "article.edited"])
    with pytest.raises(EventNotSubscribed, match=r"takes article\.published, article\.edited; not user\.deleted"):
        deliver_webhook(order(event_type="user.deleted"), make_context())
    deliver_webhook(order(event_type="article.edited"), make_context())

    assert [attempt.outcome for attempt in log(services)] == ["disabled", "delivered"]
    assert len(receiver.requests) == 1 and endpoint(services).failure_count == 0


def test_running_twice_delivers_once(receiver: HttpReceiver, secret: str, make_context: MakeContext) -> None:
    ctx = make_context()
    assert deliver_webhook(order(), ctx) == deliver_webhook(order(), ctx)
    assert len(receiver.requests) == 1


@pytest.mark.each_database
def test_while_a_secret_is_changed_both_verify_and_afterwards_only_the_new_one(
    services: Services, receiver: HttpReceiver, secret: str, control: Control, make_context: MakeContext
) -> None:
    newer = control.webhooks.rotate_secret("partner", overlap=timedelta(hours=1))
    deliver_webhook(order(), make_context())
    for each in (secret, newer):
        Webhook(each).verify(receiver.requests[0].body, receiver.requests[0].headers)

    change(services, previous_secret_until=datetime.now(UTC) - timedelta(seconds=1))
    deliver_webhook(order(), make_context())
    Webhook(newer).verify(receiver.requests[1].body, receiver.requests[1].headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(receiver.requests[1].body, receiver.requests[1].headers)


def test_secrets_stand_nowhere_in_clear(services: Services, secret: str) -> None:
    row = endpoint(services)
    assert secret not in row.sealed_secret and services.cipher.decrypt(row.sealed_secret) == secret
    with services.database.reading() as session:
        assert all(secret not in json.dumps(entry.detail) for entry in session.scalars(select(AuditLog)))


@pytest.mark.parametrize(
    ("answer", "error", "sort", "outcome"),
    [
        (Answer(400), WebhookRefused, PermanentError, "refused"),
        (Answer(404), WebhookRefused, PermanentError, "refused"),
        (Answer(410), WebhookRefused, PermanentError, "refused"),
        (Answer(301, headers={"Location": "http://169.254.169.254/"}), WebhookRedirected, PermanentError, "refused"),
        (Answer(408), WebhookFailed, TransientError, "failed"),
        (Answer(409), WebhookFailed, TransientError, "failed"),
        (Answer(425), WebhookFailed, TransientError, "failed"),
        (Answer(500), WebhookFailed, TransientError, "failed"),
        (Answer(503), WebhookFailed, TransientError, "failed"),
        (Answer(503, headers={"Retry-After": "9"}), WebhookThrottled, Throttled, "throttled"),
        (Answer(429), WebhookThrottled, Throttled, "throttled"),
        (Answer(429, headers={"Retry-After": "9"}), WebhookThrottled, Throttled, "throttled"),
        (Answer(429, headers={"Retry-After": "999999"}), WebhookThrottled, Throttled, "throttled"),
        (Answer(delay_seconds=FOR_EVER), AnswerTimedOut, TransientError, "failed"),
        (Answer(hangs_up=True), HostUnreachable, TransientError, "failed"),
    ],
    ids=lambda value: str(getattr(value, "status", "")) or getattr(value, "__name__", value),
)
def test_what_the_receiver_says_is_sorted_and_recorded(
    make_services: MakeServices, receiver: HttpReceiver, secret: str, make_context: MakeContext,
    answer: Answer, error: Any, sort: Any, outcome: str,
) -> None:  # fmt: skip
    services = make_services(webhook_timeout_seconds=0.5 if error is AnswerTimedOut else 30)
    receiver.answers = [answer]
    ctx = make_context(services=services)
    with pytest.raises(error) as raised:
        deliver_webhook(order(), ctx)

    assert isinstance(raised.value, sort)
    if sort is Throttled:
        asked = answer.headers.get("Retry-After")
        assert raised.value.retry_after_seconds == min(float(asked or 30), 3_600)
    (attempt,) = log(services)
    assert (attempt.outcome, attempt.error_type) == (outcome, error.__name__)
    assert SqlEffects(services.database).find(ctx.job_id) is None
    if error is not AnswerTimedOut:  # In half a second, a busy machine may not even have connected.
        until(lambda: len(receiver.requests) == 1)
    assert len(receiver.requests) <= 1


def test_a_pause_may_be_a_date(receiver: HttpReceiver, secret: str, make_context: MakeContext) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    receiver.answers = [Answer(429, headers={"Retry-After": later})]
    with pytest.raises(WebhookThrottled) as raised:
        deliver_webhook(order(), make_context())
    assert 90 < raised.value.retry_after_seconds <= 100


def test_pauses_end_when_the_event_is_old(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(429)]
    with pytest.raises(WebhookExpired, match="older than 72 hours"):
        deliver_webhook(order(occurred_at=datetime.now(UTC) - timedelta(hours=73)), make_context())
    assert log(services)[0].outcome == "refused"


def test_answers_are_kept_short_and_storable(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(500, b"\0\xff" + "خ".encode() * 5_000)]
    with pytest.raises(WebhookFailed):
        deliver_webhook(order(), make_context())
    kept = log(services)[0].answer or ""
    assert len(kept) <= 2_048 and "\0" not in kept and "خخخ" in kept


def test_what_an_answer_quotes_of_secrets_is_not_kept(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    token = f"tko_{'aB3-_' * 9}"
    receiver.answers = [Answer(400, f"no: password=hunter2, not {secret}, nor {token}: ناشناس".encode())]
    with pytest.raises(WebhookRefused):
        deliver_webhook(order(), make_context())

    assert log(services)[0].answer == "no: password=••••, not ••••, nor ••••: ناشناس"


def test_of_a_secret_at_the_end_of_what_is_kept_nothing_is(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(400, b"x" * 2_030 + b" " + secret.encode() + b" and more" * 10_000)]
    with pytest.raises(WebhookRefused):
        deliver_webhook(order(), make_context())

    kept = log(services)[0].answer or ""
    assert "x ••••" in kept and secret[:6] not in kept and len(kept) <= 2_048


def test_a_private_address_is_blocked_and_recorded(
    make_services: MakeServices, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    services = make_services(outbound_allowed_networks=[])
    with pytest.raises(AddressBlocked) as raised:
        deliver_webhook(order(), make_context(services=services))

    assert isinstance(raised.value, PermanentError) and receiver.requests == []
    assert (log(services)[0].outcome, log(services)[0].error_type) == ("blocked", "AddressBlocked")


@pytest.mark.each_database
def test_an_unknown_and_a_disabled_endpoint_are_refused_by_name(
    services: Services, receiver: HttpReceiver, secret: str, control: Control, make_context: MakeContext
) -> None:
    with pytest.raises(UnknownWebhookEndpoint):
        deliver_webhook(order(endpoint_id=99), make_context())
    control.webhooks.disable("partner", reason="moved")
    ctx = make_context()
    with pytest.raises(EndpointDisabled, match="partner is switched off: moved"):
        deliver_webhook(order(), ctx)
    assert receiver.requests == [] and [entry.outcome for entry in log(services)] == ["disabled"] * 2

    control.webhooks.enable("partner")
    deliver_webhook(order(), make_context(ctx.job_id, delivery=2))
    assert log(services)[-1].outcome == "delivered"


@pytest.mark.each_database
def test_an_endpoint_is_switched_off_after_sustained_failure_and_not_before(
    services: Services, receiver: HttpReceiver, secret: str, control: Control, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(500)]

    def fail() -> None:
        with pytest.raises(WebhookFailed):
            deliver_webhook(order(), make_context())

    for _ in range(12):
        fail()
    assert (endpoint(services).status, endpoint(services).failure_count) == ("enabled", 12)
    change(services, first_failure_at=datetime.now(UTC) - timedelta(hours=73))
    fail()

    off = endpoint(services)
    assert (off.status, off.disabled_reason) == ("disabled", "no delivery succeeded for 72 hours")
    with services.database.reading() as session:
        entry = session.scalars(select(AuditLog).where(AuditLog.action == "webhook.disabled")).one()
    assert (entry.actor, (entry.detail or {})["endpoint"]) == ("webhooks:deliver", "partner")
    control.webhooks.enable("partner")
    assert (endpoint(services).failure_count, endpoint(services).first_failure_at) == (0, None)


@pytest.mark.each_database
def test_a_success_wipes_the_slate_and_few_failures_are_forgiven(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(500), Answer()]
    with pytest.raises(WebhookFailed):
        deliver_webhook(order(), make_context())
    change(services, first_failure_at=datetime.now(UTC) - timedelta(hours=100))
    deliver_webhook(order(), make_context())
    assert (endpoint(services).failure_count, endpoint(services).first_failure_at) == (0, None)

    receiver.answers = [Answer(500)]
    with pytest.raises(WebhookFailed):
        deliver_webhook(order(), make_context())
    change(services, first_failure_at=datetime.now(UTC) - timedelta(hours=100))
    with pytest.raises(WebhookFailed):
        deliver_webhook(order(), make_context())
    assert endpoint(services).status == "enabled"


@pytest.mark.each_database
def test_gone_switches_off_at_once(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(410)]
    with pytest.raises(WebhookRefused):
        deliver_webhook(order(), make_context())
    assert endpoint(services).disabled_reason == "the receiver answered 410 Gone"


@pytest.mark.each_database
def test_failures_at_once_are_all_counted(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    receiver.answers = [Answer(500)]

    def fail() -> None:
        with pytest.raises(WebhookFailed):
            deliver_webhook(order(), make_context())

    threads = [threading.Thread(target=fail) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert endpoint(services).failure_count == len(log(services)) == 8


JOB = """
import sys, structlog, datetime
from teknav_ops.engine.processor import JobContext
from teknav_ops.payloads.webhooks_deliver import DeliverWebhook
from teknav_ops.settings import Settings
from workers.services import open_services
from workers.webhooks_deliver import deliver_webhook
services = open_services(Settings(database_url=sys.argv[1], redis_url="redis://127.0.0.1:9", secret_key=sys.argv[2],
                                  outbound_allowed_networks=["127.0.0.0/8"]))
ctx = JobContext(job_id="killed", queue="webhooks:deliver", name="deliver-webhook", attempt=1, delivery=1, trace_id="",
                 services=services, log=structlog.get_logger())
deliver_webhook(DeliverWebhook(endpoint_id=1, event_id="evt_1", event_type="a.b",
                               occurred_at=datetime.datetime.now(datetime.UTC)), ctx)
"""


def test_a_job_killed_while_the_receiver_answers_comes_again_under_the_same_id(
    services: Services, receiver: HttpReceiver, secret: str, make_context: MakeContext, database_url: str
) -> None:
    receiver.answers = [Answer(delay_seconds=FOR_EVER), Answer()]
    key = services.settings.secret_key
    assert key is not None
    process = warm_python.Process(
        [sys.executable, "-c", JOB, database_url, key.get_secret_value()], cwd=Path(__file__).parents[2]
    )
    until(lambda: bool(receiver.requests))
    process.kill()
    process.wait()

    deliver_webhook(order(), make_context("killed", delivery=2))

    assert [request.headers["webhook-id"] for request in receiver.requests] == ["evt_1", "evt_1"]
    assert [(entry.delivery, entry.outcome) for entry in log(services)] == [(2, "delivered")]


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"event_id": "two words"}, "event_id"),
        ({"event_type": "Article Published"}, "event_type"),
        ({"endpoint_id": 0}, "endpoint_id"),
        ({"occurred_at": datetime(2026, 1, 1)}, "occurred_at"),
        ({"occurred_at": datetime(2999, 1, 1, tzinfo=UTC)}, "occurred_at"),
    ],
)
def test_bad_orders_are_refused(facts: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        order(**facts)


@pytest.mark.each_database
def test_operators_add_list_and_switch_endpoints_and_every_change_is_audited(
    services: Services, control: Control, receiver: HttpReceiver, secret: str, make_context: MakeContext
) -> None:
    assert secret.startswith("whsec_")
    control.webhooks.add("second", "https://example.com/h", event_types=["article.published"])
    deliver_webhook(order(), make_context())
    first, second = control.webhooks.endpoints()
    assert (first.name, first.status, second.event_types) == ("partner", "enabled", ["article.published"])
    assert [attempt.outcome for attempt in control.webhooks.deliveries("partner")] == ["delivered"]
    assert control.webhooks.deliveries("second") == []
    control.webhooks.disable("second", reason="test")
    with services.database.reading() as session:
        entries = session.execute(select(AuditLog.action, AuditLog.actor, AuditLog.outcome)).all()
    assert [tuple(entry) for entry in entries] == [
        ("webhook.added", "owner", "done"), ("webhook.added", "owner", "done"), ("webhook.disabled", "owner", "done"),
    ]  # fmt: skip


def test_wrong_input_of_operators_is_refused_and_viewers_may_change_nothing(
    services: Services, control: Control, client: redis.Redis, secret: str
) -> None:
    door = control.webhooks
    wrong: list[tuple[Any, Any, Any, str]] = [
        ("No Name", "https://x.example", [], "name"),
        (None, "https://x.example", [], "name"),
        ("partner", "https://x.example", [], "name"),
        ("x", "ftp://x.example", [], "url"),
        ("x", None, [], "url"),
        ("x", f"https://x.example/{'p' * 2_000}", [], "url"),
        *(
            ("x", "https://x.example", kinds, "event_types")
            for kinds in (["A B"], ["a" * 101], [None], None, "article.published")
        ),
    ]
    for name, url, kinds, field in wrong:
        with pytest.raises(InvalidRequest, match=f"^{field}: "):
            door.add(name, url, event_types=kinds)
    assert len(door.endpoints()) == 1
    with pytest.raises(UnknownEndpoint, match="no endpoint 'nobody'"):
        door.enable("nobody")
    with pytest.raises(WrongState):
        door.enable("partner")
    with pytest.raises(InvalidRequest, match="overlap"):
        door.rotate_secret("partner", overlap=timedelta(days=31))
    viewer = Control(
        client, Operator("reza", Role.VIEWER), OperatorLog(services.database), cipher=services.cipher  # type: ignore[arg-type]
    )  # fmt: skip
    with pytest.raises(NotAllowed):
        viewer.webhooks.disable("partner", reason="x")
    assert endpoint(services).status == "enabled"


class _TooSlow:
    """A receiver that is still talking when the job's time limit ends."""

    def request(self, *_: Any, **__: Any) -> Any:
        raise TimeLimitExceeded


def test_a_delivery_that_its_time_limit_ends_is_recorded_as_failed(
    services: Services, secret: str, make_context: MakeContext
) -> None:
    with pytest.raises(TimeLimitExceeded):
        deliver_webhook(order(), make_context(services=dataclasses.replace(services, http=_TooSlow())))

    (attempt,) = log(services)
    assert (attempt.outcome, attempt.error_type, attempt.status_code) == ("failed", "TimeLimitExceeded", None)
    assert endpoint(services).failure_count == 1
