"""email:send: deliver one mail."""

from __future__ import annotations

import html
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.settings import get_settings
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import EmailQueue
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services


@processor("send-email")
def send_email(job: SendEmail, ctx: JobContext[Services]) -> dict[str, Any]:
    """Write the EmailQueue row, deliver, and record the server's answer, also when it refuses.

    Runs twice safely: a row that says `sent` ends the job at once, and every attempt carries the
    same Message-ID, by which the other side can drop a copy.
    """
    sender = get_settings().mail_from
    message_id = f"<{ctx.job_id}@{parseaddr(sender)[1].partition('@')[2]}>"
    if _begin(job, ctx, message_id) == "sent":
        return {"status": "sent", "message_id": message_id}
    try:
        answer = ctx.services.mailer.send(
            compose(job, sender=sender, message_id=message_id), sender=parseaddr(sender)[1], recipient=str(job.to)
        )
    except Exception as error:
        _settle(ctx, status="failed", error=f"{type(error).__name__}: {error}")
        raise
    summary = {"status": "sent", "message_id": message_id, "server_answer": answer[:300]}
    _settle(ctx, summary, status="sent", server_answer=answer, error=None, sent_at=utc_now())
    return summary


def compose(job: SendEmail, *, sender: str, message_id: str) -> EmailMessage:
    """The mail: text and HTML, Persian right to left, with the headers that receivers look for."""
    name, address = parseaddr(sender)
    message = EmailMessage()
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=str(job.to))
    message["Subject"] = job.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = message_id
    message["Content-Language"] = job.language
    if job.reply_to:
        message["Reply-To"] = Address(addr_spec=str(job.reply_to))
    if job.unsubscribe_url:
        message["List-Unsubscribe"] = f"<{job.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(_fill(job.text, job, escape=False))
    if job.html is not None:
        message.add_alternative(_page(_fill(job.html, job, escape=True), job.language), subtype="html")
    return message


def _fill(text: str, job: SendEmail, *, escape: bool) -> str:
    """The only place where secrets are in clear."""
    for name, secret in job.secrets.items():
        value = secret.get_secret_value()
        text = text.replace("{{" + name + "}}", html.escape(value) if escape else value)
    return text


def _page(body: str, language: str) -> str:
    direction = "rtl" if language == "fa" else "ltr"
    return (
        f'<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8"></head>'
        f'<body dir="{direction}">{body}</body></html>'
    )


def _row(session: Session, job_id: str) -> EmailQueue:
    return session.scalars(select(EmailQueue).where(EmailQueue.job_id == job_id).with_for_update()).one()


def _begin(job: SendEmail, ctx: JobContext[Services], message_id: str) -> str:
    """The row's status before this attempt; `sending` is written unless it was sent."""
    with ctx.services.database.session() as session:
        new = insert_into(session, EmailQueue).values(
            job_id=ctx.job_id, to_address=str(job.to), subject=job.subject, language=job.language,
            message_id=message_id, status="queued", attempt_count=0,
        )  # fmt: skip
        session.execute(new.on_conflict_do_nothing())
        row = _row(session, ctx.job_id)
        before = row.status
        if before != "sent":
            row.status = "sending"
            row.attempt_count += 1
        return before


def _settle(ctx: JobContext[Services], summary: dict[str, Any] | None = None, **facts: Any) -> None:
    with ctx.services.database.session() as session:
        row = _row(session, ctx.job_id)
        for name, value in facts.items():
            setattr(row, name, value)
        if summary is not None:
            record_effect(session, ctx.job_id, ctx.queue, summary)
