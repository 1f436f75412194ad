"""Delivery: a finished run told by mail and by a post, tried a few times, and what became of it noted in the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from html import escape
from typing import Any, Final

import structlog

from teknav_ops.alerts.channels import ChannelFailed, SignedPost
from teknav_ops.errors import PermanentError, TransientError
from teknav_ops.outbound.mail import Mailer, MailRefused, open_mailer
from teknav_ops.payloads.redaction import error_text, redact
from teknav_ops.reports.page import WORDS, inlined, moment, number_words
from teknav_ops.reports.runs import Delivered, RunMeta, Tick, silent
from teknav_ops.reports.schedules import Deliver
from teknav_ops.reports.store import ASSETS, PAGE, ReportStore
from teknav_ops.settings import Settings

log = structlog.get_logger("teknav.reports")

#: Before the second and the third attempt.
PAUSES_SECONDS: Final = (5.0, 20.0)
#: Servers refuse mails of more than 20 to 25 MB, which base64 makes of this.
ATTACHED_LIMIT_BYTES: Final = 14_000_000
_TOO_LARGE: Final = "The page is too large for a mail, so it is not attached.\n"


class Courier:
    """Tells of runs. Each message has an id, so that a receiver can drop a copy."""

    def __init__(
        self, settings: Settings, store: ReportStore, *, pauses_seconds: Sequence[float] = PAUSES_SECONDS
    ) -> None:  # fmt: skip
        secret = settings.report_webhook_secret
        self._secret = secret.get_secret_value() if secret else None
        self._settings = settings
        self._store = store
        self._pauses_seconds = pauses_seconds

    def deliver(self, meta: RunMeta, to: Deliver, tick: Tick = silent) -> RunMeta:
        """Tell everybody; answers the run with what became of it, which `meta.json` says too."""
        sends = self._sends(meta, to)
        # Should this process die, the run says that these were not known to have been sent.
        meta = meta.model_copy(update={"deliveries": tuple(Delivered(channel=name) for name, _ in sends)})
        if sends:
            self._note(meta)
        for at, (name, send) in enumerate(sends):
            done = self._try(name, send, tick)
            deliveries = (*meta.deliveries[:at], done, *meta.deliveries[at + 1 :])
            meta = meta.model_copy(update={"deliveries": deliveries})
            self._note(meta)
        return meta

    def _note(self, meta: RunMeta) -> None:
        """A disk that is full keeps nobody from being told."""
        try:
            self._store.rewrite(meta)
        except OSError as error:
            log.warning("report.delivery_not_noted", report=meta.name, run=meta.run, error=str(error))

    def url(self, meta: RunMeta) -> str:
        """Where the run is shown."""
        site = self._settings.alert_site_url or self._settings.web_url
        return f"{site.rstrip('/')}/reports/{meta.name}/{meta.run}/"

    def _sends(self, meta: RunMeta, to: Deliver) -> list[tuple[str, Callable[[], str]]]:
        sends: list[tuple[str, Callable[[], str]]] = []
        if to.webhook is not None:
            post, payload = SignedPost(to.webhook, self._secret), self._payload(meta)
            sends.append(("webhook", lambda: post.send(f"report_{meta.name}_{meta.run}", payload)))
        if to.mail:
            mailer = open_mailer(self._settings)
            sends += [(f"mail:{address}", self._mailing(mailer, address, meta, to.attach)) for address in to.mail]
        return sends

    def _try(self, name: str, send: Callable[[], str], tick: Tick) -> Delivered:
        words = ""
        for attempt, pause_seconds in enumerate((*self._pauses_seconds, None), start=1):
            tick(f"is sent: {name}")
            try:
                words = send()
            except MailRefused as error:
                # Now and later.
                return Delivered(channel=name, status="failed", attempt_count=attempt, words=error_text(error))
            except (ChannelFailed, PermanentError, TransientError, OSError) as error:
                words = error_text(error)
                log.warning("report.not_delivered", channel=name, attempt=attempt, error=words)
            except Exception as error:
                # A fault of ours, now and later. The others are told all the same.
                log.exception("report.delivery_broken", channel=name)
                words = f"{type(error).__name__}: {error_text(error)}"[:300]
                return Delivered(channel=name, status="failed", attempt_count=attempt, words=words)
            else:
                return Delivered(channel=name, status="sent", attempt_count=attempt, words=redact(words)[:300])
            if pause_seconds is not None:
                time.sleep(pause_seconds)
        return Delivered(channel=name, status="failed", attempt_count=attempt, words=words[:300])

    def _payload(self, meta: RunMeta) -> dict[str, Any]:
        return {
            "type": f"report.{meta.status}",
            "timestamp": (meta.ended_at or meta.started_at).isoformat(),
            "text": _text(meta, self.url(meta)),
            "data": meta.model_dump(mode="json", exclude={"deliveries"}) | {"url": self.url(meta)},
        }

    def _mailing(self, mailer: Mailer, address: str, meta: RunMeta, is_attached: bool) -> Callable[[], str]:
        def send() -> str:
            message = self._compose(address, meta, is_attached)
            return mailer.send(message, sender=parseaddr(self._settings.mail_from)[1], recipient=address)

        return send

    def _compose(self, address: str, meta: RunMeta, is_attached: bool) -> EmailMessage:
        sender, url = self._settings.mail_from, self.url(meta)
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = address
        message["Subject"] = f"{meta.title} [{WORDS[meta.status]}]"
        message["Date"] = format_datetime(meta.ended_at or meta.started_at)
        message["Message-ID"] = f"<report_{meta.name}_{meta.run}@{parseaddr(sender)[1].partition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        page = self._store.root / meta.name / meta.run / PAGE
        whole = inlined(page.read_text("utf-8"), self._store.root / ASSETS) if is_attached and page.is_file() else ""
        is_too_large = len(whole.encode()) > ATTACHED_LIMIT_BYTES
        note = _TOO_LARGE if is_too_large else ""
        message.set_content(f"{_text(meta, url)}\n{note}", cte="quoted-printable")
        message.add_alternative(_html(meta, url, note), subtype="html", cte="quoted-printable")
        if whole and not is_too_large:
            message.add_attachment(whole.encode(), maintype="text", subtype="html", filename=f"{meta.name}.html")
        return message


def _as_of(meta: RunMeta) -> str:
    return f"as of {moment(meta.ended_at or meta.started_at, meta.time_zone)}"


def _text(meta: RunMeta, url: str) -> str:
    lines = [
        f"{meta.title} [{WORDS[meta.status]}]",
        _as_of(meta),
    ]
    lines += [meta.error] if meta.error else []
    lines += [f"{number.name}: {number_words(number)}" for number in meta.numbers]
    return "\n".join([*lines, url])


def _html(meta: RunMeta, url: str, note: str) -> str:
    rows = "".join(
        f'<tr><th scope="row" dir="auto" style="padding:4px 16px 4px 0;text-align:start;font-weight:400">'
        f"{escape(number.name)}</th>"
        f'<td style="text-align:right{";color:#b3261e" if number.is_breached else ""}">'
        f"{escape(number_words(number))}</td></tr>"
        for number in meta.numbers
    )
    error = f'<p dir="auto" style="color:#b3261e">{escape(meta.error)}</p>' if meta.error else ""
    return (
        f'<div style="font-family:sans-serif"><h2 dir="auto">{escape(meta.title)}</h2><p><b>{WORDS[meta.status]}</b>, '
        f"{_as_of(meta)}</p>{error}<table>{rows}</table>"
        f'<p><a href="{escape(url)}">Open the report</a></p>{note}</div>\n'
    )
