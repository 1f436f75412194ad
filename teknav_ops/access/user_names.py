"""User names: which are good, and when two are the same."""

from __future__ import annotations

import hashlib
import unicodedata
from typing import Final

from teknav_ops.errors import InvalidRequest

_MOST_CHARACTERS: Final = 100
#: The zero-width non-joiner belongs to Persian spelling.
_PUNCTUATION: Final = " ._-@+\u200c"


def checked_name(name: str) -> str:
    """The name as it is kept. Raises InvalidRequest."""
    kept = unicodedata.normalize("NFC", name).strip()
    if not 1 <= len(kept) <= _MOST_CHARACTERS:
        raise InvalidRequest(f"name: must have 1 to {_MOST_CHARACTERS} characters")
    wrong = [letter for letter in kept if unicodedata.category(letter)[0] not in "LMN" and letter not in _PUNCTUATION]
    if wrong:
        raise InvalidRequest(f"name: {wrong[0]!r} is not a letter, a digit, a space or one of . _ - @ +")
    if unicodedata.category(kept[0])[0] not in "LN" or not name_key(kept):
        # `..` is no part of an address, and `-x` no argument of a command.
        raise InvalidRequest("name: must begin with a letter or a digit")
    return kept


def name_key(name: str) -> str:
    """Names with the same key are the same: case, width and joiners make no difference."""
    return unicodedata.normalize("NFKC", name).casefold().replace("\u200c", "").strip()[:200]


def name_digest(name: str) -> str:
    """The key as a part of Redis keys."""
    return hashlib.sha256(name_key(name).encode("utf-8", "replace")).hexdigest()[:32]
