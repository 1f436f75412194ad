"""Texts of the settings, checked as what they will be used for. A part of `settings.Settings`, which reads them."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from teknav_ops.one_line import is_one_line
from teknav_ops.path_prefix import prefix_of, require_prefix
from teknav_ops.web_addresses import ascii_host, ascii_url, header_problem

#: JSON that a person lays out, or the name of a file.
_LAID_OUT: Final = frozenset({"alert_rules", "report_schedules"})
REDIS_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
SMTP_SCHEMES: Final = ("smtp", "smtp+plain", "smtps")


class CheckedSettings(BaseSettings):
    """Rules for settings of one kind, by name; a setting that breaks one is refused before anything starts."""

    @field_validator("*")
    @classmethod
    def _text_is_one_line(cls, value: Any, info: ValidationInfo) -> Any:
        texts = value if isinstance(value, tuple) else (value,)
        if info.field_name not in _LAID_OUT and not all(is_one_line(_text(one)) for one in texts):
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("sms_url", "ai_base_url", "alert_webhook_url", "alert_site_url", "oidc_issuer", check_fields=False)
    @classmethod
    def _url_can_be_called(cls, url: str | None) -> str | None:
        if url is not None:
            ascii_url(url)
        return url

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

    @field_validator("site_host", check_fields=False)
    @classmethod
    def _is_a_host(cls, host: str) -> str:
        ascii_host(host.partition(":")[0])
        return host

    @field_validator("ai_api_key", "sms_token", check_fields=False)
    @classmethod
    def _fits_a_header(cls, key: SecretStr | None) -> SecretStr | None:
        if problem := header_problem(_text(key)):
            raise ValueError(problem)
        return key

    @field_validator("redis_url", "smtp_url", check_fields=False)
    @classmethod
    def _server_can_be_found(cls, url: str | SecretStr | None, info: ValidationInfo) -> str | SecretStr | None:
        if url is not None:
            require_server(_text(url), REDIS_SCHEMES if info.field_name == "redis_url" else SMTP_SCHEMES)
        if info.field_name == "smtp_url":
            login = urlsplit(_text(url)).netloc.rpartition("@")[0]
            if not unquote(login).isascii():
                raise ValueError("user and password must be ASCII: the protocol's login carries nothing else")
        return url

    @field_validator("database_url", check_fields=False)
    @classmethod
    def _names_a_database(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None and "://" not in _text(url):
            raise ValueError("must be a SQLAlchemy URL, such as postgresql+psycopg://user:password@host/name")
        return url


def require_server(url: str, schemes: tuple[str, ...]) -> None:
    """Raises ValueError for the URL of a server that has another scheme, no host, or a port that cannot be."""
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"scheme must be one of {', '.join(schemes)}")
    place = parts.path if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    if not place or ("+" not in parts.scheme and parts.scheme != "unix" and not parts.hostname):
        raise ValueError("must name a host (or, for unix, a path)")
    if "," not in place and parts.scheme != "unix":
        _ = parts.port


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return value if isinstance(value, str) else ""
