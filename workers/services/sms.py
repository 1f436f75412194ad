"""Text messages: a small protocol, a gateway over HTTP, and an outbox of files for development."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path
from typing import Final, Protocol

from teknav_ops.errors import PermanentError, Throttled, TransientError
from teknav_ops.outbound.http import Answer, AnswerTimedOut, HostUnreachable, OutboundHttp
from teknav_ops.outbound.retry_after import retry_after_seconds
from teknav_ops.settings import Settings

_TIMEOUT_SECONDS: Final = 15.0
_DEFAULT_PAUSE_SECONDS: Final = 5.0
#: The operator named this address, so it may be a private one.
_ANYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
_BLOCKED_CODES: Final = frozenset({404, 410, 422})


class SmsRefused(PermanentError):
    """The gateway will not take this message."""


class NumberBlocked(PermanentError):
    """The gateway says that this number cannot or may not be reached."""


class SmsDelayed(TransientError):
    """The gateway could not be reached, failed, or refused our login."""


class SmsThrottled(Throttled):
    """The gateway asked for a pause."""


class SmsGateway(Protocol):
    """Delivers one text message, or says why not."""

    def send(self, to: str, text: str, *, reference: str) -> str:
        """Hand it over; answers with the gateway's own words. The same `reference` is one message.

        Raises:
            SmsRefused, NumberBlocked: permanently.
            SmsDelayed, SmsThrottled: for now.
        """


class HttpSmsGateway:
    """POSTs `{"to", "text", "from", "reference"}` with a bearer token; 403, 404, 410 and 422 are about the number."""

    def __init__(self, url: str, token: str, sender: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._url = url
        self._token = token
        self._sender = sender
        self._timeout_seconds = timeout_seconds
        self._http = OutboundHttp(allowed_networks=_ANYWHERE)

    def send(self, to: str, text: str, *, reference: str) -> str:
        """One request per message."""
        headers = {"content-type": "application/json", "idempotency-key": reference}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        message = {"to": to, "text": text, "from": self._sender, "reference": reference}
        try:
            answer = self._http.request(
                "POST", self._url, content=json.dumps(message, ensure_ascii=False).encode(), headers=headers,
                timeout_seconds=self._timeout_seconds,
            )  # fmt: skip
        except (HostUnreachable, AnswerTimedOut) as error:
            raise SmsDelayed(f"sms gateway: {error}") from None
        return _sorted(answer)


def _sorted(answer: Answer) -> str:
    # Not cut here: a code that the gateway quotes could be cut in two, and no longer be recognised.
    words = f"{answer.status} {answer.body.decode(errors='replace')}".replace("\0", "").strip()
    if 200 <= answer.status < 300:
        return words
    if answer.status == 429:
        pause = retry_after_seconds(answer.headers.get("retry-after"))
        raise SmsThrottled(words, retry_after_seconds=pause or _DEFAULT_PAUSE_SECONDS)
    if answer.status in (401, 403):
        # Our token is wrong, not the message: giving up would dead-letter the whole queue.
        raise SmsDelayed(words)
    if answer.status in _BLOCKED_CODES:
        raise NumberBlocked(words)
    if 400 <= answer.status < 500 and answer.status not in (408, 409, 425):
        raise SmsRefused(words)
    raise SmsDelayed(words)


class OutboxSms:
    """Writes each message as a file that only its owner can read: a developer has to see the code somewhere."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, to: str, text: str, *, reference: str) -> str:
        """Write the file; a message sent twice is one file."""
        path = self._folder / f"sms-{reference}.txt"
        draft = path.with_suffix(".draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"To: {to}\n\n{text}\n")
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise SmsDelayed(f"outbox: {error.strerror}") from None
        return f"written to outbox/{path.name}"


def open_sms(settings: Settings) -> SmsGateway:
    """The gateway where one is set, else the outbox."""
    if settings.sms_url is None:
        return OutboxSms(settings.data_dir / "outbox")
    token = settings.sms_token.get_secret_value() if settings.sms_token else ""
    return HttpSmsGateway(settings.sms_url, token, settings.sms_sender)
