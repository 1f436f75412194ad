"""Mail: a small protocol, an SMTP adapter, and an outbox of files for development."""

from __future__ import annotations

import contextlib
import secrets
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from teknav_ops.errors import InvalidRequest, PermanentError, TransientError
from teknav_ops.server_addresses import require_smtp
from teknav_ops.settings import Settings
from teknav_ops.web_addresses import ascii_host

_TIMEOUT_SECONDS: Final = 30.0
_QUIT_TIMEOUT_SECONDS: Final = 2.0
_DEFAULT_PORTS: Final = {"smtp": 587, "smtp+plain": 25, "smtps": 465}


class MailRefused(PermanentError):
    """The server will not take this mail, now or later (5xx)."""

    def __init__(self, message: str, *, server_answer: str | None = None) -> None:
        super().__init__(message)
        self.server_answer = server_answer


class MailDelayed(TransientError):
    """The server could not be reached, or asked to be tried again (4xx)."""

    def __init__(self, message: str, *, server_answer: str | None = None) -> None:
        super().__init__(message)
        self.server_answer = server_answer


class Mailer(Protocol):
    """Delivers one mail, or says why not."""

    def send(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """Deliver; answers with the server's own words.

        Raises:
            MailRefused: permanently.
            MailDelayed: for now.
        """


class SmtpMailer:
    """SMTP with STARTTLS when offered, TLS from the start (`smtps`), or none (`smtp+plain`)."""

    def __init__(self, url: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        parts = urlsplit(url)
        try:
            require_smtp(url)
            self._host = ascii_host(parts.hostname or "")
        except ValueError as error:
            raise InvalidRequest(f"TEKNAV_SMTP_URL: {error}") from None
        self._url = url
        self._scheme = parts.scheme
        self._port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self._user = unquote(parts.username or "")
        self._password = unquote(parts.password or "")
        self._timeout_seconds = timeout_seconds

    def send(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """One connection per mail: workers are idle for longer than servers keep connections."""
        try:
            server = self._connect()
            try:
                return _deliver(server, message, sender, recipient)
            finally:
                _leave(server)
        except smtplib.SMTPAuthenticationError as error:
            # Our login is wrong, not the mail: giving up would dead-letter the whole queue.
            raise MailDelayed(f"{self._host}:{self._port} refused the login ({error.smtp_code})") from None
        except smtplib.SMTPResponseException as error:
            raise _sorted(error.smtp_code, error.smtp_error) from None
        except (smtplib.SMTPException, OSError) as error:
            raise MailDelayed(f"{self._host}:{self._port}: {type(error).__name__}: {error}") from None

    def reach(self, *, timeout_seconds: float) -> str:
        """Connect, log in and leave; says which server answered. Raises MailDelayed."""
        place = f"{self._host}:{self._port}"
        try:
            _leave(SmtpMailer(self._url, timeout_seconds=timeout_seconds)._connect())
        except smtplib.SMTPAuthenticationError as error:
            raise MailDelayed(f"{place} refused the login ({error.smtp_code})") from None
        except (smtplib.SMTPException, OSError) as error:
            raise MailDelayed(f"{place}: {type(error).__name__}: {error}") from None
        return f"{place} answers"

    def _connect(self) -> smtplib.SMTP:
        if self._scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=self._timeout_seconds, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_seconds)
        try:
            self._secure(server)
        except BaseException:
            server.close()
            raise
        return server

    def _secure(self, server: smtplib.SMTP) -> None:
        server.ehlo_or_helo_if_needed()
        if self._scheme == "smtp" and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
            server.ehlo_or_helo_if_needed()
        elif self._scheme == "smtp" and self._user:
            raise MailDelayed(
                f"{self._host}:{self._port} offers no STARTTLS, so the password was not sent; "
                "use smtps:// or, on a trusted network only, smtp+plain:// in TEKNAV_SMTP_URL"
            )
        if self._user:
            server.login(self._user, self._password)


def _deliver(server: smtplib.SMTP, message: EmailMessage, sender: str, recipient: str) -> str:
    """The SMTP dialogue, step by step: `send_message` would throw the server's final answer away."""
    for code, answer in (server.mail(sender), server.rcpt(recipient)):
        if code >= 400:
            raise _sorted(code, answer)
    code, answer = server.data(message.as_bytes())
    if code >= 400:
        raise _sorted(code, answer)
    return f"{code} {answer.decode(errors='replace')}"


def _leave(server: smtplib.SMTP) -> None:
    """Say goodbye. What the server thinks of that, or whether it answers, changes nothing about the mail."""
    with contextlib.suppress(smtplib.SMTPException, OSError):
        if server.sock is not None:
            server.sock.settimeout(_QUIT_TIMEOUT_SECONDS)
        server.quit()
    server.close()


def _sorted(code: int, answer: bytes | str) -> MailRefused | MailDelayed:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    words = f"{code} {text}"
    sort = MailRefused if 500 <= code < 600 else MailDelayed
    return sort(words, server_answer=words)


class OutboxMailer:
    """Writes each mail as an .eml file, whole or not at all. A mail sent twice is one file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, message: EmailMessage, *, sender: str, recipient: str) -> str:
        """Write the file; named by the Message-ID."""
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        path = self._folder / f"{name}.eml"
        draft = path.with_suffix(f".{secrets.token_hex(8)}.draft")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(message.as_bytes())
            draft.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise MailDelayed(f"outbox: {error.strerror}") from error
        return f"written to outbox/{path.name}"


def open_mailer(settings: Settings) -> Mailer:
    """SMTP where a server is set, else the outbox."""
    if settings.smtp_url is not None:
        return SmtpMailer(settings.smtp_url.get_secret_value())
    return OutboxMailer(settings.data_dir / "outbox")
