"""Texts of the settings, checked as what they will be used for. A part of `settings.Settings`, which reads them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from teknav_ops.one_line import is_one_line
from teknav_ops.path_prefix import prefix_of, require_prefix
from teknav_ops.server_addresses import (
    receiver_of_mails,
    require_database,
    require_port,
    require_redis,
    require_sender,
    require_signing_secret,
    require_smtp,
)
from teknav_ops.web_addresses import ascii_host, ascii_url, header_problem

#: JSON that a person lays out, or the name of a file.
_LAID_OUT: Final = frozenset({"alert_rules", "report_schedules"})
#: The longest time there is, by the last word of a setting's name: a hundred years. Sockets wait for days at most.
_LONGEST: Final = {"days": 36_500, "hours": 876_000, "minutes": 52_560_000, "seconds": 3_153_600_000}
_LONGEST_TIMEOUT_SECONDS: Final = 86_400
_MOST: Final = 10**15


class CheckedSettings(BaseSettings):
    """Rules for settings of one kind, by name; a setting that breaks one is refused before anything starts."""

    @field_validator("*")
    @classmethod
    def _text_is_one_line(cls, value: Any, info: ValidationInfo) -> Any:
        texts = value if isinstance(value, tuple) else (value,)
        if info.field_name not in _LAID_OUT and not all(is_one_line(_text(one)) for one in texts):
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("*")
    @classmethod
    def _number_can_be_counted_with(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        most = _LONGEST.get(name.rpartition("_")[2], _MOST)
        most = _LONGEST_TIMEOUT_SECONDS if name.endswith("timeout_seconds") else most
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"must be at most {most:,}")
        return value

    @field_validator("sms_url", "ai_base_url", "alert_webhook_url", "alert_site_url", "oidc_issuer", check_fields=False)
    @classmethod
    def _url_can_be_called(cls, url: str | None) -> str | None:
        if url is not None:
            ascii_url(url)
        return url

    @field_validator("ai_base_url", check_fields=False)
    @classmethod
    def _paths_follow_it(cls, url: str | None) -> str | None:
        if url is not None and set(url) & set("?#"):
            raise ValueError("must end with a path: what is asked for is put behind it")
        return url

    @field_validator("web_address", "metrics_address", check_fields=False)
    @classmethod
    def _can_be_listened_on(cls, address: str | None) -> str | None:
        require_port((address or "").rpartition(":")[2])
        return address

    @field_validator("web_public_url", check_fields=False)
    @classmethod
    def _url_as_browsers_send_it(cls, url: str | None) -> str | None:
        if url is None:
            return None
        url = ascii_url(url).rstrip("/")
        require_prefix(prefix_of(url))
        return url

    @field_validator("allowed_hosts", check_fields=False)
    @classmethod
    def _hosts_as_browsers_send_them(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(host if host.isascii() else ascii_host(host) for host in hosts)

    @field_validator("mail_from", check_fields=False)
    @classmethod
    def _can_send_mails(cls, sender: str) -> str:
        require_sender(sender)
        return sender

    @field_validator("alert_mail_to", check_fields=False)
    @classmethod
    def _receives_mails(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(receiver_of_mails, addresses))

    @field_validator("alert_webhook_secret", "report_webhook_secret", check_fields=False)
    @classmethod
    def _signs_posts(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None:
            require_signing_secret(_text(secret))
        return secret

    @field_validator("site_host", check_fields=False)
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        name, _, port = host.partition(":")
        ascii_host(name)
        require_port(port)
        return host

    @field_validator("ai_api_key", "sms_token", "api_token", check_fields=False)
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if problem := header_problem(_text(key)):
            raise ValueError(problem)
        return key

    @field_validator("redis_url", "smtp_url", check_fields=False)
    @classmethod
    def _server_can_be_found(cls, url: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        if url is None:
            return None
        (require_redis if info.field_name == "redis_url" else require_smtp)(_text(url))
        if info.field_name == "smtp_url":
            login = urlsplit(_text(url)).netloc.rpartition("@")[0]
            if not unquote(login).isascii():
                raise ValueError("user and password must be ASCII: the protocol's login carries nothing else")
        return url

    @field_validator("database_url", check_fields=False)
    @classmethod
    def _names_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            require_database(_text(url))
        return url


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else ""
