"""Passwords that everybody tries first, known without asking anybody.

`common_passwords.txt.gz` holds 30,000 of the most used, one a line: the list `passwords` of zxcvbn (Python edition
4.5.0, MIT, its licence beside it), made from published breaches. What one adds to such a word so that a rule is kept
(digits and signs at the ends, letters written as digits, the word twice) is tried by guessers, too, and does not help.
"""

from __future__ import annotations

import functools
import gzip
import string
from pathlib import Path
from typing import Final

_LIST: Final = Path(__file__).parent / "common_passwords.txt.gz"
_ENDS: Final = string.digits + string.punctuation + string.whitespace
_AS_LETTERS: Final = str.maketrans("@4380!|1$57+", "aaeboiilsstt")
#: So little between digits and signs is no word; digits and signs alone must be many.
_LEAST_WORD: Final = 4
_LONG: Final = 20


def is_common(password: str) -> bool:
    """Whether a password, in lower case, is one of the most used, or one of them dressed up."""
    words = _undressed(password)
    is_no_word = min(map(len, words)) < _LEAST_WORD and len(password) < _LONG
    return is_no_word or any(_once(word) in _listed() for word in words)


def _undressed(password: str) -> set[str]:
    bare = password.strip(_ENDS)
    whole = "".join(bare.split())
    return {password, bare, whole, whole.translate(_AS_LETTERS), password.translate(_AS_LETTERS)}


def _once(text: str) -> str:
    """What is written over and over: "qwerty" of "qwertyqwerty"."""
    period = (text + text).find(text, 1)
    return text[:period]


@functools.cache
def _listed() -> frozenset[str]:
    with gzip.open(_LIST, "rt", encoding="utf-8") as lines:
        return frozenset(line.rstrip("\n") for line in lines)
