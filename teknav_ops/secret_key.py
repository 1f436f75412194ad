"""The key that encrypts secret payload fields: from the settings, or made once for development."""

from __future__ import annotations

import contextlib
import hmac

from cryptography.fernet import Fernet

from teknav_ops.durable_files import new_file
from teknav_ops.errors import MissingSecretKey
from teknav_ops.payloads.key_ring import derived_key
from teknav_ops.private_files import private_folder
from teknav_ops.settings import Settings


def cipher_keys(settings: Settings) -> list[str]:
    """The Fernet keys, newest first.

    Raises:
        MissingSecretKey: a key is malformed, none is set in production, or none can be kept in the data folder.
    """
    listed = settings.secret_key.get_secret_value() if settings.secret_key else ""
    keys = [key.strip() for key in listed.split(",") if key.strip()]
    if not keys:
        return [_development_key(settings)]
    for key in keys:
        _check(key)
    return keys


def _check(key: str) -> None:
    try:
        Fernet(key)
    except ValueError:
        raise MissingSecretKey(
            "TEKNAV_SECRET_KEY: each key must be 32 url-safe base64 bytes; make one with `teknav secret-key`"
        ) from None


def _development_key(settings: Settings) -> str:
    if settings.environment == "production":
        raise MissingSecretKey("TEKNAV_SECRET_KEY is required in production; make one with `teknav secret-key`")
    path = settings.data_dir.absolute() / "secret.key"
    try:
        if not path.exists():
            private_folder(path.parent)
            # Processes and threads may begin at once, and each may die.
            with contextlib.suppress(FileExistsError), new_file(path, mode=0o600) as file:
                file.write(Fernet.generate_key())
        return path.read_text().strip()
    except OSError as error:
        raise MissingSecretKey(
            f"data_dir: no key can be kept in {path.parent}: {error.strerror}; make room there or correct "
            "TEKNAV_DATA_DIR, or set TEKNAV_SECRET_KEY"
        ) from error


def digest(settings: Settings, purpose: str, value: str) -> str:
    """A keyed digest (HMAC-SHA256, hex) of a value that must be compared but not stored.

    Each purpose has a key of its own, derived from the newest secret key. Raises MissingSecretKey.
    """
    return hmac.digest(derived_keys(settings, f"digest {purpose}")[0], value.encode(), "sha256").hex()


def derived_keys(settings: Settings, purpose: str) -> list[bytes]:
    """A key for one purpose from each secret key, newest first. Raises MissingSecretKey."""
    return [derived_key(key, purpose) for key in cipher_keys(settings)]
