"""webhooks:deliver: POST an event to an endpoint, signed as Standard Webhooks asks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy.orm import Session
from standardwebhooks import Webhook

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError, Throttled, TransientError
from teknav_ops.outbound.addresses import AddressBlocked
from teknav_ops.outbound.http import WORDS_READ_BYTES, Answer
from teknav_ops.outbound.retry_after import retry_after_seconds
from teknav_ops.payloads.redaction import error_text
from teknav_ops.payloads.webhooks_deliver import DeliverWebhook
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import SqlEffects, record_effect
from teknav_ops.storage.tables import AuditLog, WebhookDeliveryLog, WebhookEndpoint
from teknav_ops.storage.tables.base import utc_now
from teknav_ops.webhook_events import takes
from workers.services import Services

_KEPT_ANSWER_CHARACTERS: Final = 2_048
_TRANSIENT: Final = frozenset({408, 409, 425})
_DEFAULT_PAUSE_SECONDS: Final = 30.0
#: An endpoint with little traffic is not switched off for one bad delivery a week.
_LEAST_FAILURES: Final = 10

Context = JobContext[Services]


class UnknownWebhookEndpoint(PermanentError):
    """There is no endpoint with this id."""


class EndpointDisabled(PermanentError):
    """The endpoint is switched off; enable it, then replay."""


class EventNotSubscribed(PermanentError):
    """The endpoint did not ask for events of this type."""


class WebhookRefused(PermanentError):
    """The receiver will not take this event (4xx)."""


class WebhookRedirected(PermanentError):
    """The receiver sent us elsewhere (3xx), where a signed event must not go unasked."""


class WebhookExpired(PermanentError):
    """The receiver kept asking for a pause until the event was too old."""


class WebhookFailed(TransientError):
    """The receiver failed (5xx, 408, 409, 425)."""


class WebhookThrottled(Throttled):
    """The receiver asked for a pause (429, or 503 with Retry-After)."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Target:
    url: str
    secrets: tuple[str, ...]


@processor("deliver-webhook")
def deliver_webhook(job: DeliverWebhook, ctx: Context) -> Mapping[str, Any]:
    """Sign the event, POST it, and write down what came back.

    Runs twice safely: a delivery that is on record as done ends the job at once, and every attempt carries the
    event's id as `webhook-id`, by which receivers drop a copy.
    """
    if done := SqlEffects(ctx.services.database).find(ctx.job_id):
        return done
    answer: Answer | None = None
    try:
        target = _target(job, ctx)
        answer = _post(job, target, ctx)
        _require_taken(answer, job, ctx)
    except BaseException as error:
        # The end of the time limit is no Exception.
        _record(job, ctx, answer, error)
        raise
    return _record(job, ctx, answer, None)


def _target(job: DeliverWebhook, ctx: Context) -> _Target:
    with ctx.services.database.reading() as session:
        endpoint = session.get(WebhookEndpoint, job.endpoint_id)
        if endpoint is None:
            raise UnknownWebhookEndpoint(f"endpoint_id: there is no webhook endpoint {job.endpoint_id}")
        if endpoint.status != "enabled":
            raise EndpointDisabled(f"{endpoint.name} is switched off: {endpoint.disabled_reason}")
        if not takes(endpoint.event_types, job.event_type):
            raise EventNotSubscribed(f"{endpoint.name} takes {', '.join(endpoint.event_types)}; not {job.event_type}")
        sealed = [endpoint.sealed_secret]
        if endpoint.previous_sealed_secret and (endpoint.previous_secret_until or utc_now()) > utc_now():
            sealed.append(endpoint.previous_sealed_secret)
        return _Target(endpoint.url, tuple(map(ctx.services.cipher.decrypt, sealed)))


def _post(job: DeliverWebhook, target: _Target, ctx: Context) -> Answer:
    body = json.dumps(
        {"type": job.event_type, "timestamp": job.occurred_at.astimezone(UTC).isoformat(), "data": job.data},
        ensure_ascii=False, separators=(",", ":"),
    )  # fmt: skip
    now = datetime.now(UTC)
    headers = {
        "content-type": "application/json",
        "webhook-id": job.event_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(job.event_id, now, body) for secret in target.secrets),
    }
    return ctx.services.http.request(
        "POST", target.url, headers=headers, content=body.encode(),
        timeout_seconds=ctx.services.settings.webhook_timeout_seconds, answer_limit_bytes=WORDS_READ_BYTES,
    )  # fmt: skip


def _require_taken(answer: Answer, job: DeliverWebhook, ctx: Context) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    words = f"the receiver answered {status}"
    if 300 <= status < 400:
        raise WebhookRedirected(f"{words} and names another place; correct the endpoint's URL")
    pause_seconds = retry_after_seconds(answer.headers.get("retry-after"))
    if status == 429 or (status == 503 and pause_seconds is not None):
        _require_young(job, ctx, words)
        raise WebhookThrottled(words, retry_after_seconds=pause_seconds or _DEFAULT_PAUSE_SECONDS)
    if status in _TRANSIENT or status >= 500:
        raise WebhookFailed(words, retry_after_seconds=pause_seconds)
    raise WebhookRefused(words)


def _require_young(job: DeliverWebhook, ctx: Context, words: str) -> None:
    """A pause uses no attempt, so without this a job could be put off for ever."""
    hours = ctx.services.settings.webhook_give_up_hours
    if utc_now() - job.occurred_at > timedelta(hours=hours):
        raise WebhookExpired(f"{words}, and the event is older than {hours:g} hours")


def _record(job: DeliverWebhook, ctx: Context, answer: Answer | None, error: BaseException | None) -> Mapping[str, Any]:
    """The attempt, the endpoint's health and the effect, in one transaction."""
    summary = {"status_code": answer.status if answer else None, "event_id": job.event_id}
    with ctx.services.database.session() as session:
        endpoint = session.get(WebhookEndpoint, job.endpoint_id, with_for_update=True)
        row = insert_into(session, WebhookDeliveryLog).values(
            job_id=ctx.job_id, delivery=ctx.delivery, attempt=ctx.attempt, endpoint_id=job.endpoint_id,
            event_id=job.event_id, event_type=job.event_type, outcome=_outcome(error), at=utc_now(),
            host=urlsplit(endpoint.url).hostname if endpoint else None, **_what_came_back(answer, error),
        )  # fmt: skip
        session.execute(row.on_conflict_do_nothing())
        if endpoint is not None:
            _note_health(session, endpoint, answer, error, ctx)
        if error is None:
            record_effect(session, ctx.job_id, ctx.queue, summary)
    return summary


def _what_came_back(answer: Answer | None, error: BaseException | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"error_type": type(error).__name__, "error": error_text(error)} if error else {}
    if answer is not None:
        facts |= {
            "status_code": answer.status,
            "duration_ms": round(answer.duration_ms, 1),
            "address": answer.address,
            "answer": answer.words(_KEPT_ANSWER_CHARACTERS),
        }
    return facts


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "delivered"
    if isinstance(error, EndpointDisabled | UnknownWebhookEndpoint | EventNotSubscribed):
        return "disabled"
    if isinstance(error, AddressBlocked):
        return "blocked"
    if isinstance(error, Throttled):
        return "throttled"
    return "refused" if isinstance(error, PermanentError) else "failed"


def _note_health(
    session: Session, endpoint: WebhookEndpoint, answer: Answer | None, error: BaseException | None, ctx: Context
) -> None:
    now = utc_now()
    if error is None:
        endpoint.failure_count, endpoint.first_failure_at, endpoint.last_success_at = 0, None, now
        return
    if _outcome(error) in ("disabled", "throttled") or endpoint.status != "enabled":
        return
    endpoint.failure_count += 1
    endpoint.first_failure_at = endpoint.first_failure_at or now
    hours = ctx.services.settings.webhook_disable_hours
    has_failed_long = now - endpoint.first_failure_at >= timedelta(hours=hours)
    if answer is not None and answer.status == 410:
        _switch_off(session, endpoint, "the receiver answered 410 Gone", ctx)
    elif has_failed_long and endpoint.failure_count >= _LEAST_FAILURES:
        _switch_off(session, endpoint, f"no delivery succeeded for {hours:g} hours", ctx)


def _switch_off(session: Session, endpoint: WebhookEndpoint, reason: str, ctx: Context) -> None:
    """With its own line in AuditLog, in the same transaction: nobody finds out by chance."""
    endpoint.status, endpoint.disabled_at, endpoint.disabled_reason = "disabled", utc_now(), reason
    detail = {"endpoint": endpoint.name, "reason": reason, "failure_count": endpoint.failure_count}
    session.add(
        AuditLog(at=utc_now(), action="webhook.disabled", actor="webhooks:deliver", queue=ctx.queue,
                 job_id=ctx.job_id, outcome="done", detail=detail)
    )  # fmt: skip
    ctx.log.warning("webhook.disabled", **detail)
