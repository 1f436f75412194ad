"""otp:send: deliver a one-time code, while it is worth something, and to nobody too often.

The code and the recipient stand in clear in the message and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Any, Final

from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session

from teknav_ops.engine.processor import JobContext, processor
from teknav_ops.errors import PermanentError, Throttled, TransientError
from teknav_ops.payloads.codec import secret_values
from teknav_ops.payloads.email_send import SendEmail
from teknav_ops.payloads.otp_send import SendOtp
from teknav_ops.payloads.redaction import redact
from teknav_ops.platform.job_records.kinds import DOUBT
from teknav_ops.secret_key import digest
from teknav_ops.storage.database import insert_into
from teknav_ops.storage.effects import record_effect
from teknav_ops.storage.tables import OtpLog
from teknav_ops.storage.tables.base import utc_now
from workers.services import Services
from workers.services.mail_message import ascii_address, compose

_KEPT_CHARACTERS: Final = 500
_PERSIAN_DIGITS: Final = str.maketrans("0123456789", "۰۱۲۳۴۵۶۷۸۹")
_ARABIC_DIGITS: Final = str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")
_PURPOSES: Final = {
    "sign-in": ("ورود به تک‌ناو", "sign in to TekNav"),
    "sign-up": ("نام‌نویسی در تک‌ناو", "sign up to TekNav"),
    "change-password": ("تغییر گذرواژه", "change your password"),
    "confirm-action": ("تأیید درخواست شما", "confirm your request"),
}


class OtpExpired(PermanentError):
    """The code is worth nothing any more, so it was not sent."""


class OtpLimited(PermanentError):
    """The recipient has got as many codes as one may get; a later one would only annoy."""


@processor("send-otp")
def send_otp(job: SendOtp, ctx: JobContext[Services]) -> Mapping[str, Any]:
    """Write the OtpLog row, send the code, and record the answer; expired and excessive codes are not sent.

    Runs twice safely: a row that says `sent` ends the job at once, and every attempt carries the same reference
    (or Message-ID), by which the other side can drop a copy.
    """
    if (before := _begin(job, ctx)) == "sent":
        return {"status": "sent"}
    if before != "sending":
        raise {"expired": OtpExpired, "limited": OtpLimited}[before](_reason(before, ctx))
    secrets = _secret_forms(job)
    try:
        answer = redact(_deliver(job, ctx), secrets)[:_KEPT_CHARACTERS]
    except BaseException as error:
        # The end of the time limit is no Exception.
        raise _recorded(job, ctx, error, secrets) from None
    summary = {"status": "sent", "channel": job.channel, "provider_answer": answer[:200]}
    _settle(ctx, summary, status="sent", provider_answer=answer, error=None, sent_at=utc_now())
    return summary


def _reason(status: str, ctx: JobContext[Services]) -> str:
    settings = ctx.services.settings
    if status == "expired":
        return "the code had expired before it could be sent"
    return (
        f"at most {settings.otp_limit_count} codes in {settings.otp_limit_seconds} s and one in "
        f"{settings.otp_resend_seconds} s go to one recipient"
    )


def _begin(job: SendOtp, ctx: JobContext[Services]) -> str:
    """The row as it stands now: `sending` if the code may go out."""
    recipient = job.recipient.get_secret_value()
    settings = ctx.services.settings
    recipient_digest = digest(settings, "otp recipient", _reached(recipient).lower())
    with ctx.services.database.session() as session:
        _take_turns(session, recipient_digest)
        new = insert_into(session, OtpLog).values(
            job_id=ctx.job_id, channel=job.channel, purpose=job.purpose, language=job.language, status="queued",
            recipient_masked=mask_recipient(recipient), recipient_digest=recipient_digest, attempt_count=0,
            code_digest=digest(settings, "otp code", f"{recipient} {job.code.get_secret_value()}"),
            expires_at=job.expires_at,
        )  # fmt: skip
        session.execute(new.on_conflict_do_nothing())
        row = session.scalars(select(OtpLog).where(OtpLog.job_id == ctx.job_id).with_for_update()).one()
        if row.status != "sent":
            row.status = _status(session, row, ctx, job.expires_at)
            row.attempt_count += row.status == "sending"
        return row.status


def _take_turns(session: Session, recipient_digest: str) -> None:
    """Codes to one recipient are counted one after the other; SQLite has one writer anyway."""
    if session.get_bind().dialect.name == "postgresql":
        number = int(recipient_digest[:15], 16)
        session.execute(text("select pg_advisory_xact_lock(:number)"), {"number": number})


def _status(session: Session, row: OtpLog, ctx: JobContext[Services], expires_at: datetime) -> str:
    now = utc_now()
    settings = ctx.services.settings
    if expires_at <= now:
        return "expired"
    others = (
        OtpLog.recipient_digest == row.recipient_digest,
        or_(OtpLog.status.in_(("sending", "sent")), OtpLog.error.endswith(DOUBT)),
        OtpLog.job_id != row.job_id,
    )
    recent = select(func.count(), func.max(OtpLog.updated_at)).where(
        *others, OtpLog.created_at > now - timedelta(seconds=settings.otp_limit_seconds)
    )
    count, newest = session.execute(recent).one()
    too_soon = newest is not None and newest > now - timedelta(seconds=settings.otp_resend_seconds)
    return "limited" if count >= settings.otp_limit_count or too_soon else "sending"


def _deliver(job: SendOtp, ctx: JobContext[Services]) -> str:
    subject, words = message_text(job, host=ctx.services.settings.site_host)
    recipient = job.recipient.get_secret_value()
    if job.channel == "sms":
        return ctx.services.sms.send(recipient, words, reference=ctx.job_id)
    sender = ctx.services.settings.mail_from
    address = parseaddr(sender)[1]
    mail = SendEmail(to=recipient, subject=subject, text=words, language=job.language)
    message = compose(mail, sender=sender, message_id=f"<{ctx.job_id}@{address.partition('@')[2]}>")
    return ctx.services.mailer.send(message, sender=address, recipient=_reached(recipient))


def _reached(recipient: str) -> str:
    """A number as it is; an address with its domain as DNS knows it."""
    return ascii_address(recipient) if "@" in recipient else recipient


def message_text(job: SendOtp, *, host: str) -> tuple[str, str]:
    """Subject and text. Digits stay ASCII and the last line names the site: phones fill such codes in by themselves."""
    code = job.code.get_secret_value()
    persian, english = _PURPOSES[job.purpose]
    if job.language == "fa":
        subject = f"کد {persian}"
        words = f"کد شما برای {persian}: {code}\nاین کد را به هیچ‌کس ندهید."
    else:
        subject = f"Your code to {english}"
        words = f"Your code to {english}: {code}\nGive it to nobody."
    return subject, f"{words}\n\n@{host} #{code}"


def mask_recipient(recipient: str) -> str:
    """Enough to recognise one's own: +98•••••4567, r•••@example.com."""
    name, at, domain = recipient.partition("@")
    return f"{name[:1]}•••{at}{domain}"[:120] if at else f"{recipient[:3]}•••••{recipient[-4:]}"


def _secret_forms(job: SendOtp) -> frozenset[str]:
    """What another side may quote: code and recipient, in any digits, with or without the plus."""
    plain = set(secret_values(job))
    plain |= {value.lstrip("+") for value in plain} | {_reached(job.recipient.get_secret_value())}
    return frozenset(
        plain | {v.translate(_PERSIAN_DIGITS) for v in plain} | {v.translate(_ARABIC_DIGITS) for v in plain}
    )


def _recorded(job: SendOtp, ctx: JobContext[Services], error: BaseException, secrets: frozenset[str]) -> BaseException:
    """The error as it may be shown; as OtpExpired where the next try would come too late."""
    error.args = (redact(str(error), secrets)[:_KEPT_CHARACTERS],)
    if hasattr(error, "server_answer"):
        error.server_answer = redact(error.server_answer or "", secrets) or None
    pause = error.retry_after_seconds if isinstance(error, Throttled | TransientError) else None
    if pause is not None and utc_now() + timedelta(seconds=pause) >= job.expires_at:
        error = OtpExpired(f"the code expires before the next try: {type(error).__name__}: {error}")
    ended = "expired" if isinstance(error, OtpExpired) else "failed"
    _settle(ctx, status=ended if ctx.is_last_try(error) else "delayed", error=f"{type(error).__name__}: {error}")
    return error


def _settle(ctx: JobContext[Services], summary: Mapping[str, Any] | None = None, **facts: Any) -> None:
    with ctx.services.database.session() as session:
        row = session.scalars(select(OtpLog).where(OtpLog.job_id == ctx.job_id).with_for_update()).one()
        if row.status == "sent":
            # The same job, handed out twice, got through elsewhere: that answer stands.
            return
        for name, value in facts.items():
            setattr(row, name, value)
        if summary is not None:
            record_effect(session, ctx.job_id, ctx.queue, summary)
