"""email:send: deliver one mail."""

from __future__ import annotations

import html
from email.utils import parseaddr
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.outbound.mail import MailDelayed, MailRefused
from teknav_ops.payloads.codec import secret_values
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.payloads.redaction import redact
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import EmailQueue
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services
from workers.services.mail_message import ascii_address, compose


@processor("send-email")
def send_email(job: SendEmail, ctx: JobContext[Services]) -> dict[str, Any]:
    """Write the EmailQueue row, deliver, and record the server's answer, also when it refuses.

    Runs twice safely: a row that says `sent` ends the job at once, and every attempt carries the
    same Message-ID, by which the other side can drop a copy.
    """
    sender = ctx.services.settings.mail_from
    message_id = f"<{ctx.job_id}@{parseaddr(sender)[1].partition('@')[2]}>"
    if _begin(job, ctx, message_id) == "sent":
        return {"status": "sent", "message_id": message_id}
    secrets = _secret_forms(job)
    try:
        message = compose(job, sender=sender, message_id=message_id)
        answer = ctx.services.mailer.send(message, sender=parseaddr(sender)[1], recipient=ascii_address(str(job.to)))
    except BaseException as error:
        # The end of the time limit is no Exception.
        _record_failure(ctx, error, secrets)
        raise
    answer = redact(answer, secrets)
    summary = {"status": "sent", "message_id": message_id, "server_answer": answer[:300]}
    _settle(ctx, summary, status="sent", server_answer=answer, error=None, sent_at=utc_now())
    return summary


def _secret_forms(job: SendEmail) -> frozenset[str]:
    """What a server may quote of the mail: the secrets as they stand in the text and in the page."""
    values = frozenset(secret_values(job))
    return values | frozenset(map(html.escape, values))


def _record_failure(ctx: JobContext[Services], error: BaseException, secrets: frozenset[str]) -> None:
    answer = None
    if isinstance(error, MailRefused | MailDelayed):
        # The engine records the exception too, and servers quote what they refuse.
        error.args = (redact(str(error), secrets),)
        answer = error.server_answer = redact(error.server_answer or "", secrets) or None
    words = redact(f"{type(error).__name__}: {error}", secrets)
    _settle(ctx, status="failed" if ctx.is_last_try(error) else "delayed", server_answer=answer, error=words)


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
        if row.status == "sent":
            # The same job, handed out twice, got through elsewhere: that answer stands.
            return
        for name, value in facts.items():
            setattr(row, name, value)
        if summary is not None:
            record_effect(session, ctx.job_id, ctx.queue, summary)
