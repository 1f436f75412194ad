"""Passwords: how they are kept, and which are too weak. argon2id, with the parameters of RFC 9106 for small memory."""

from __future__ import annotations

import functools
import threading
import unicodedata
from typing import Any, Final

from teknav_ops.access.common_passwords import is_common
from teknav_ops.errors import InvalidRequest

LEAST_CHARACTERS: Final = 12
MOST_CHARACTERS: Final = 1_000
_LEAST_DIFFERENT_CHARACTERS: Final = 5
#: Each hash takes 64 MiB and tens of milliseconds: more at once would let strangers exhaust the machine.
_AT_ONCE: Final = threading.BoundedSemaphore(2)


def check_strength(password: str, name: str) -> None:
    """Raises InvalidRequest, which says what is wrong, for a password that is too easy to guess."""
    given, own_name = _normal(password).casefold(), _normal(name).casefold()
    if len(given) < LEAST_CHARACTERS:
        raise InvalidRequest(f"password: {len(given)} characters are too few; use {LEAST_CHARACTERS} or more")
    if len(given) > MOST_CHARACTERS:
        raise InvalidRequest(f"password: longer than {MOST_CHARACTERS} characters")
    if given.replace(own_name, "") == "" or (len(own_name) >= 4 and own_name in given and len(given) < 20):
        raise InvalidRequest("password: must not be made of the user's name")
    if len(set(given)) < _LEAST_DIFFERENT_CHARACTERS:
        raise InvalidRequest(
            f"password: the same few characters over and over; use {_LEAST_DIFFERENT_CHARACTERS} different ones or more"
        )
    if is_common(given):
        raise InvalidRequest("password: is, or is made of, one of those that everybody tries first; use several words")


def hash_password(password: str) -> str:
    """The argon2id hash, with its parameters and salt."""
    with _AT_ONCE:
        return str(_hasher().hash(_normal(password)))


def verify(password: str, password_hash: str | None) -> bool:
    """Whether it is the password. Without a hash (nobody of that name) the same work is done, so time tells nothing."""
    from argon2.exceptions import InvalidHashError, VerificationError

    if len(password) > MOST_CHARACTERS:
        return False
    with _AT_ONCE:
        try:
            is_right = bool(_hasher().verify(password_hash or _nobodys_hash(), _normal(password)))
        except (VerificationError, InvalidHashError):
            return False
    return is_right and password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether it was made with weaker parameters than today's."""
    return bool(_hasher().check_needs_rehash(password_hash))


def _normal(password: str) -> str:
    """One spelling of what looks the same: keyboards compose letters differently."""
    return unicodedata.normalize("NFC", password)


@functools.cache
def _hasher() -> Any:
    try:
        from argon2 import PasswordHasher
    except ImportError:
        raise InvalidRequest("users need the web extra: pip install teknav-ops[web]") from None
    return PasswordHasher()


@functools.cache
def _nobodys_hash() -> str:
    return str(_hasher().hash("nobody has this password"))
