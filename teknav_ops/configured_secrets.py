"""The secrets of the settings: masked in every text that this process keeps or logs.

Servers quote what they were sent: a provider that refuses a key names it, a driver tells the URL that it could not
open. Such a text goes into dead letters, records, the audit trail and logs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from teknav_ops.payloads.redaction import mask_everywhere
from teknav_ops.settings import Settings

#: Shorter ones are words such as `none` and `teknav`, which would be masked wherever they stand.
_LEAST_CHARACTERS: Final = 8


def mask_configured_secrets(settings: Settings) -> None:
    """Mask the secrets of these settings in all that `redact` is given, until others are set."""
    mask_everywhere(frozenset(secrets_of(settings)))


def secrets_of(settings: Settings) -> Iterator[str]:
    """Keys, tokens, and passwords in URLs, as they are written and as they are sent."""
    values = [getattr(settings, name) for name in type(settings).model_fields]
    texts = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
    # Whole, since a password may hold a comma, and in parts, since keys are listed.
    found = [*texts, *(part.strip() for text in texts for part in text.split(","))]
    for url in (*texts, settings.redis_url or ""):
        found += _passwords(url)
    yield from (secret for secret in found if len(secret) >= _LEAST_CHARACTERS)


def _passwords(url: str) -> list[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return []
    return [password, unquote(password)] if password else []
