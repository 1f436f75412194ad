"""Channels: how a message gets out. Each sends at once or says why not; trying again is the caller's."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from typing import Final, Protocol

from standardwebhooks import Webhook

from teknav_ops.alerts.notices import Notice
from teknav_ops.errors import InvalidRequest, PermanentError, TekNavError, TransientError
from teknav_ops.outbound.addresses import InvalidUrl, check_url
from teknav_ops.outbound.http import WORDS_READ_BYTES, OutboundHttp
from teknav_ops.outbound.mail import Mailer, open_mailer
from teknav_ops.settings import Settings

_TIMEOUT_SECONDS: Final = 10.0
_KEPT_ANSWER_CHARACTERS: Final = 300
#: Who set the URL owns this system: unlike a customer's webhook it may be in the house.
_ANYWHERE: Final = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))


class ChannelFailed(TekNavError):
    """The message was not taken; the text says why."""


class Channel(Protocol):
    """One receiver of alerts. `name` says which, without giving secrets away."""

    @property
    def name(self) -> str: ...

    def send(self, notice: Notice) -> str:
        """Send; answers with the other side's words. Raises ChannelFailed."""


class WebhookChannel:
    """Posts JSON with a `text` that chat tools show, signed where there is a secret."""

    name = "webhook"

    def __init__(self, url: str, secret: str | None, http: OutboundHttp) -> None:
        self._post = SignedPost(url, secret, http)

    def send(self, notice: Notice) -> str:
        """POST it; anything but 2xx is a failure."""
        return self._post.send(notice.message_id, _payload(notice))


class SignedPost:
    """Posts JSON to an address of our own choosing, signed as Standard Webhooks asks where there is a secret."""

    def __init__(self, url: str, secret: str | None, http: OutboundHttp | None = None) -> None:
        self._url = url
        self._webhook = Webhook(secret) if secret else None
        self._http = http or OutboundHttp(allowed_networks=_ANYWHERE)

    def send(self, message_id: str, payload: Mapping[str, object]) -> str:
        """POST it; answers with the receiver's words. Raises ChannelFailed for anything but 2xx."""
        body = json.dumps(payload, ensure_ascii=False)
        now = datetime.now(UTC)
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
        }
        if self._webhook is not None:
            headers["webhook-signature"] = self._webhook.sign(message_id, now, body)
        try:
            answer = self._http.request(
                "POST", self._url, headers=headers, content=body.encode(),
                timeout_seconds=_TIMEOUT_SECONDS, answer_limit_bytes=WORDS_READ_BYTES,
            )  # fmt: skip
        except (PermanentError, TransientError) as error:
            raise ChannelFailed(str(error)) from None
        words = " ".join([str(answer.status), *answer.words(_KEPT_ANSWER_CHARACTERS).split()])
        if not 200 <= answer.status < 300:
            raise ChannelFailed(f"the receiver answered {words}")
        return words


class MailChannel:
    """One mail to one person."""

    def __init__(self, address: str, sender: str, mailer: Mailer) -> None:
        self.name = f"mail:{address}"
        self._address = address
        self._sender = sender
        self._mailer = mailer

    def send(self, notice: Notice) -> str:
        """Hand it to the mail server."""
        try:
            return self._mailer.send(
                self._compose(notice), sender=parseaddr(self._sender)[1], recipient=self._address
            )  # fmt: skip
        except (PermanentError, TransientError) as error:
            raise ChannelFailed(str(error)) from None

    def _compose(self, notice: Notice) -> EmailMessage:
        message = EmailMessage(policy=SMTP)
        message["From"] = self._sender
        message["To"] = self._address
        message["Subject"] = notice.title
        message["Date"] = format_datetime(notice.at)
        message["Message-ID"] = f"<{notice.message_id}@{parseaddr(self._sender)[1].partition('@')[2]}>"
        # No holiday answers, please.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(notice.text + "\n", cte="quoted-printable")
        return message


def open_channels(settings: Settings) -> list[Channel]:
    """The channels that the settings name; none is allowed.

    Raises:
        InvalidRequest: names the setting that is wrong.
    """
    channels: list[Channel] = []
    if settings.alert_webhook_url is not None:
        channels.append(_webhook(settings, settings.alert_webhook_url))
    mailer = open_mailer(settings) if settings.alert_mail_to else None
    if mailer is not None:
        channels += [MailChannel(address, settings.mail_from, mailer) for address in settings.alert_mail_to]
    return channels


def _webhook(settings: Settings, url: str) -> WebhookChannel:
    secret = settings.alert_webhook_secret.get_secret_value() if settings.alert_webhook_secret else None
    try:
        check_url(url)
    except InvalidUrl as error:
        raise InvalidRequest(f"alert_webhook_url: {str(error).removeprefix('url: ')}") from None
    return WebhookChannel(url, secret, OutboundHttp(allowed_networks=_ANYWHERE))


def _payload(notice: Notice) -> dict[str, object]:
    return {
        "type": f"alert.{notice.event}",
        "timestamp": notice.at.isoformat(),
        "text": notice.text,
        "data": notice.model_dump(mode="json", exclude={"message_id", "at"}),
    }
