"""`teknav secret-key`: a new key."""

from __future__ import annotations

from cryptography.fernet import Fernet

from teknav_ops.cli import show


def secret_key() -> None:
    """Print a new key for TEKNAV_SECRET_KEY."""
    show.console.print(Fernet.generate_key().decode())
