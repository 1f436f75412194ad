"""Mails as they go over the wire: 7-bit, with CRLF, readable by strict servers."""

from __future__ import annotations

import html
import re
from email import policy
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from email.utils import formatdate, parseaddr
from typing import Final

from email_validator import EmailNotValidError, validate_email

from teknav_ops.errors import PermanentError
from teknav_ops.payloads.email_send import SendEmail

#: RFC 5322 allows 998 characters to a line, the header's name included.
_LINE_LIMIT_CHARACTERS: Final = 900
_PLACEHOLDER: Final = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")


class AddressNotDeliverable(PermanentError):
    """The part before the @ is not ASCII, for which mail servers need an extension that few have."""


class _AngleBracketHeader(UnstructuredHeader, BaseHeader):
    """`<…>` kept literal. The library would encode a long one like prose, and then nobody can follow it."""

    def fold(self, *, policy: Policy) -> str:
        """Whitespace inside the brackets is ignored by its readers (RFC 2369), so any place will do."""
        value = str(self)
        pieces = [value[at : at + _LINE_LIMIT_CHARACTERS] for at in range(0, len(value), _LINE_LIMIT_CHARACTERS)]
        return f"{self.name}: " + f"{policy.linesep} ".join(pieces) + policy.linesep


def _policy() -> EmailPolicy[EmailMessage]:
    registry = HeaderRegistry()
    registry.map_to_type("list-unsubscribe", _AngleBracketHeader)
    registry.map_to_type("message-id", _AngleBracketHeader)
    return policy.SMTP.clone(cte_type="7bit", header_factory=registry)


_POLICY: Final = _policy()


def compose(job: SendEmail, *, sender: str, message_id: str) -> EmailMessage:
    """The mail: text and HTML, Persian right to left, with the headers that receivers look for.

    Raises:
        AddressNotDeliverable: the recipient or the reply address.
    """
    name, address = parseaddr(sender)
    message = EmailMessage(_POLICY)
    message["From"] = Address(name, addr_spec=address)
    message["To"] = Address(addr_spec=ascii_address(str(job.to)))
    message["Subject"] = job.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = message_id
    if job.reply_to:
        message["Reply-To"] = Address(addr_spec=ascii_address(str(job.reply_to)))
    if job.unsubscribe_url:
        message["List-Unsubscribe"] = f"<{job.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(_fill(job.text, job, escape=False))
    if job.html is not None:
        message.add_alternative(_page(_fill(job.html, job, escape=True), job.language), subtype="html")
    # Content is set with all headers of its kind: this one must come after it, and after it was made one part of two.
    message["Content-Language"] = job.language
    return message


def ascii_address(address: str) -> str:
    """The address with its domain as DNS knows it. Raises AddressNotDeliverable."""
    try:
        found = validate_email(address, check_deliverability=False).ascii_email
    except EmailNotValidError as error:
        raise AddressNotDeliverable(f"{address}: {error}") from None
    if found is None:
        raise AddressNotDeliverable(f"{address}: the part before the @ must be ASCII")
    return found


def _fill(text: str, job: SendEmail, *, escape: bool) -> str:
    """The only place where secrets are in clear. One pass: a secret's own braces are not filled in."""

    def value(found: re.Match[str]) -> str:
        secret = job.secrets.get(found[1])
        if secret is None:
            return found[0]
        return html.escape(secret.get_secret_value()) if escape else secret.get_secret_value()

    return _PLACEHOLDER.sub(value, text)


def _page(body: str, language: str) -> str:
    direction = "rtl" if language == "fa" else "ltr"
    return (
        f'<!doctype html><html lang="{language}" dir="{direction}"><head><meta charset="utf-8"></head>'
        f'<body dir="{direction}">{body}</body></html>'
    )
