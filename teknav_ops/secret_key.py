"""The key that encrypts secret payload fields: from the settings, or made once for development."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet

from teknav_ops.errors import MissingSecretKey
from teknav_ops.payloads.key_ring import derived_key
from teknav_ops.private_files import private_folder
from teknav_ops.settings import Settings


def cipher_keys(settings: Settings) -> list[str]:
    """The Fernet keys, newest first.

    Raises:
        MissingSecretKey: a key is malformed, or none is set in production.
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
    path = settings.data_dir / "secret.key"
    if not path.exists():
        private_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            _create(path, Fernet.generate_key())
    return path.read_text().strip()


def _create(path: Path, key: bytes) -> None:
    """Write the key whole or not at all: processes and threads may begin at once, and each may die."""
    draft = path.with_suffix(f".{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    finally:
        draft.unlink()


def digest(settings: Settings, purpose: str, value: str) -> str:
    """A keyed digest (HMAC-SHA256, hex) of a value that must be compared but not stored.

    Each purpose has a key of its own, derived from the newest secret key. Raises MissingSecretKey.
    """
    return hmac.digest(derived_keys(settings, f"digest {purpose}")[0], value.encode(), "sha256").hex()


def derived_keys(settings: Settings, purpose: str) -> list[bytes]:
    """A key for one purpose from each secret key, newest first. Raises MissingSecretKey."""
    return [derived_key(key, purpose) for key in cipher_keys(settings)]
