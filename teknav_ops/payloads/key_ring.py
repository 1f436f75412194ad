"""The secret keys: which of them opens what was encrypted, and how it comes under the current one.

A key's id is what tells keys apart without giving them away: a hash of a key that is derived from it. Links of the
audit chain carry it, and `teknav keys` shows it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

_KEY_ID_LENGTH: Final = 16
#: Signs the links of the audit chain.
CHAIN_PURPOSE: Final = "audit chain"
#: A sealed value as it stands in a payload's JSON. An unescaped quote behind a brace begins a name, never a text.
_SEALED: Final = re.compile(r'(\{\s*"\$secret"\s*:\s*")([A-Za-z0-9_=-]*)("\s*\})')


def derived_key(key: str, purpose: str) -> bytes:
    """A key for one purpose, made from a secret key."""
    return hmac.digest(key.encode(), f"teknav {purpose}".encode(), "sha256")


def key_id(chain_key: bytes) -> str:
    """What a secret key is called, by the key for the audit chain that is derived from it."""
    return hashlib.sha256(b"id" + chain_key).hexdigest()[:_KEY_ID_LENGTH]


class KeyRing:
    """All secret keys that are set, the current one first."""

    def __init__(self, keys: Sequence[str]) -> None:
        #: For the links of the audit chain.
        self.chain_keys = [derived_key(key, CHAIN_PURPOSE) for key in keys]
        self.ids = tuple(map(key_id, self.chain_keys))
        self._fernets = [Fernet(key) for key in keys]
        self._rotating = MultiFernet(self._fernets) if keys else None

    def opener(self, token: str) -> str | None:
        """The id of the key that a token was encrypted with; None when it is none of these."""
        for name, fernet in zip(self.ids, self._fernets, strict=True):
            try:
                fernet.decrypt(token)
            except (InvalidToken, ValueError):
                continue
            return name
        return None

    def resealed(self, token: str) -> str:
        """The same secret, bound to the same place and of the same time, under the current key.

        A token of that key, or of none of these, is answered as it is.
        """
        if self._rotating is None or self.opener(token) in (None, self.ids[0]):
            return token
        return self._rotating.rotate(token).decode()

    def resealed_payload(self, text: str) -> str:
        """A payload's stored JSON with each sealed value under the current key, and all else as it is."""
        return _SEALED.sub(lambda found: f"{found[1]}{self.resealed(found[2])}{found[3]}", text)


def tokens_in(text: str) -> list[str]:
    """The sealed values in a payload's stored JSON."""
    return [found[2] for found in _SEALED.finditer(text)] if "$secret" in text else []
