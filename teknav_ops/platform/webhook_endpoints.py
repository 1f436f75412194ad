"""Webhook endpoints as operators see them: add, list, switch off and on, change the secret."""

from __future__ import annotations

import base64
import dataclasses
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.access.policy import Operation, Operator, needs
from teknav_ops.audit.operator_log import OperatorAction
from teknav_ops.errors import InvalidRequest, WrongState
from teknav_ops.outbound.addresses import check_url
from teknav_ops.payloads.codec import Cipher
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import WebhookDeliveryLog, WebhookEndpoint
from teknav_ops.storage.tables.base import utc_now

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
_EVENT_TYPE: Final = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")
#: As long as a delivery's type may be, and as its column.
_TYPE_LIMIT_CHARACTERS: Final = 100
_URL_LIMIT_CHARACTERS: Final = 2_000
_SECRET_BYTES: Final = 32

Record = Callable[..., AbstractContextManager[OperatorAction]]


class UnknownEndpoint(InvalidRequest):
    """There is no webhook endpoint of this name."""


@dataclasses.dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint without its secrets."""

    id: int
    name: str
    url: str
    event_types: list[str]
    status: str
    failure_count: int
    first_failure_at: datetime | None
    last_success_at: datetime | None
    disabled_at: datetime | None
    disabled_reason: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to deliver; `answer` is what the receiver said, cut at 2 kB."""

    at: datetime
    job_id: str
    attempt: int
    event_type: str
    event_id: str
    outcome: str
    status_code: int | None
    duration_ms: float | None
    error: str | None
    host: str | None = None
    answer: str | None = None


class WebhookEndpoints:
    """Every change is recorded with the operator's name before it is made."""

    def __init__(self, database: Database, cipher: Cipher, record: Record, *, operator: Operator) -> None:
        self._database = database
        self._cipher = cipher
        self._record = record
        self._operator = operator

    def endpoints(self) -> list[Endpoint]:
        """All endpoints, by name."""
        with self._database.reading() as session:
            rows = session.scalars(select(WebhookEndpoint).order_by(WebhookEndpoint.name))
            return [Endpoint(**{f.name: getattr(row, f.name) for f in dataclasses.fields(Endpoint)}) for row in rows]

    def deliveries(self, name: str, *, limit: int = 50) -> Sequence[Attempt]:
        """The newest attempts at an endpoint. Raises UnknownEndpoint."""
        with self._database.reading() as session:
            endpoint = _find(session, name)
            newest = (
                select(WebhookDeliveryLog)
                .where(WebhookDeliveryLog.endpoint_id == endpoint.id)
                .order_by(WebhookDeliveryLog.at.desc(), WebhookDeliveryLog.id.desc())
                .limit(limit)
            )
            return [_attempt(row) for row in session.scalars(newest)]

    @needs(Operation.MANAGE)
    def add(self, name: str, url: str, *, event_types: Sequence[str] = ()) -> str:
        """Add an endpoint; answers its secret, which is shown this once.

        Raises:
            InvalidRequest: name, URL or an event type is wrong, or the name is taken. Nothing was written.
        """
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidRequest("name: use lower-case letters, digits and dashes, 100 at most")
        _require_url(url)
        _require_types(event_types)
        secret = new_secret()
        with self._record("webhook.added", None, endpoint=name, url=url), self._database.session() as session:
            if session.scalar(select(WebhookEndpoint.id).where(WebhookEndpoint.name == name)) is not None:
                raise InvalidRequest(f"name: there is an endpoint {name!r} already")
            session.add(
                WebhookEndpoint(
                    name=name, url=url, event_types=list(event_types), created_by=self._operator.name,
                    sealed_secret=self._cipher.encrypt(secret),
                )
            )  # fmt: skip
        return secret

    @needs(Operation.MANAGE)
    def enable(self, name: str) -> None:
        """Deliver again, with a clean slate. Raises UnknownEndpoint, or WrongState when it is enabled."""
        with self._record("webhook.enabled", None, endpoint=name), self._database.session() as session:
            endpoint = _find(session, name)
            if endpoint.status == "enabled":
                raise WrongState(f"webhook: {name} is enabled already")
            endpoint.status, endpoint.disabled_at, endpoint.disabled_reason = "enabled", None, None
            endpoint.failure_count, endpoint.first_failure_at = 0, None

    @needs(Operation.MANAGE)
    def disable(self, name: str, *, reason: str) -> None:
        """Deliver nothing more. Raises UnknownEndpoint, or WrongState when it is disabled."""
        with (
            self._record("webhook.disabled", None, endpoint=name, reason=reason),
            self._database.session() as session,
        ):
            endpoint = _find(session, name)
            if endpoint.status == "disabled":
                raise WrongState(f"webhook: {name} is disabled already")
            endpoint.status, endpoint.disabled_at, endpoint.disabled_reason = "disabled", utc_now(), reason

    @needs(Operation.MANAGE)
    def rotate_secret(self, name: str, *, overlap: timedelta) -> str:
        """Give it a new secret, shown this once; the old one signs too until `overlap` has passed."""
        if not timedelta(0) <= overlap <= timedelta(days=30):
            raise InvalidRequest("overlap: must be between 0 and 30 days")
        secret = new_secret()
        with (
            self._record("webhook.secret_rotated", None, endpoint=name, overlap_seconds=overlap.total_seconds()),
            self._database.session() as session,
        ):
            endpoint = _find(session, name)
            endpoint.previous_sealed_secret = endpoint.sealed_secret
            endpoint.previous_secret_until = utc_now() + overlap
            endpoint.sealed_secret = self._cipher.encrypt(secret)
        return secret


def _require_url(url: str) -> None:
    if not isinstance(url, str) or len(url) > _URL_LIMIT_CHARACTERS:
        raise InvalidRequest(f"url: must be a text of at most {_URL_LIMIT_CHARACTERS:,} characters")
    check_url(url)


def _require_types(event_types: Sequence[str]) -> None:
    """Each must be one that an event can have."""
    if isinstance(event_types, str) or not isinstance(event_types, Collection):
        raise InvalidRequest("event_types: give a list of types such as article.published")
    for kind in event_types:
        is_type = isinstance(kind, str) and len(kind) <= _TYPE_LIMIT_CHARACTERS and _EVENT_TYPE.fullmatch(kind)
        if not is_type:
            raise InvalidRequest(
                f"event_types: {kind!r:.120} is not a type such as article.published, "
                f"{_TYPE_LIMIT_CHARACTERS} characters at most"
            )


def new_secret() -> str:
    """A signing secret as Standard Webhooks spells it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def _find(session: Session, name: str) -> WebhookEndpoint:
    endpoint = session.scalars(select(WebhookEndpoint).where(WebhookEndpoint.name == name).with_for_update()).first()
    if endpoint is None:
        raise UnknownEndpoint(f"webhook: there is no endpoint {name!r}; see `teknav webhooks list`")
    return endpoint


def attempts_of_job(database: Database, job_id: str, *, limit: int = 50) -> list[Attempt]:
    """What receivers answered to a job, the newest attempt first; nothing for a job that delivers nothing."""
    of_job = select(WebhookDeliveryLog).where(WebhookDeliveryLog.job_id == job_id)
    with database.reading() as session:
        newest = session.scalars(of_job.order_by(WebhookDeliveryLog.delivery.desc()).limit(limit))
        return [_attempt(row) for row in newest]


def _attempt(row: WebhookDeliveryLog) -> Attempt:
    return Attempt(**{field.name: getattr(row, field.name) for field in dataclasses.fields(Attempt)})
