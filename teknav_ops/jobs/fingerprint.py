"""Which failures are the same failure: a short hash of error type, message shape and place."""

from __future__ import annotations

import hashlib
import re
import traceback
from pathlib import PurePath
from types import TracebackType
from typing import Final

#: For these the quoted word is the cause itself; in other messages it is data.
_QUOTE_IS_CAUSE: Final = frozenset({"KeyError", "AttributeError", "NameError", "ImportError", "ModuleNotFoundError"})

_SHAPES: Final = (
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", re.I), "<uuid>"),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<mail>"),
    (re.compile(r"\bhttps?://[^\s'\"<>]+", re.I), "<url>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"), "<time>"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "<address>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{16,}\b", re.I), "<hex>"),
    (re.compile(r"(?:/[\w.@+-]+){2,}"), "<path>"),
)
_NUMBER: Final = re.compile(r"-?\d+(?:[.,]\d+)*")
#: Ids as servers quote them in their refusals: `4RkqX12abc`, `req_9fK3aZ`. Names such as `eu-west-1` are none.
_ID: Final = re.compile(r"\b(?=[\w-]*[A-Za-z]\d)(?=[\w-]*\d[A-Za-z])\w[\w-]{6,}\w\b")
#: Where letters and digits meet.
_CHANGE: Final = re.compile(r"(?<=[A-Za-z])(?=\d)|(?<=\d)(?=[A-Za-z])")
_LEAST_CHANGES: Final = 4
_LETTERS: Final = re.compile(r"[A-Za-z]+")
_VOWEL: Final = re.compile(r"[aeiouy]", re.IGNORECASE)
_QUOTED: Final = re.compile(r"'[^']*'|\"[^\"]*\"|«[^»]*»")


def message_shape(error_type: str, message: str) -> str:
    """The message without the data that differs from one failure to the next."""
    text = message[:2_000]
    if error_type not in _QUOTE_IS_CAUSE:
        text = _QUOTED.sub("<text>", text)
    for pattern, mark in _SHAPES:
        text = pattern.sub(mark, text)
    if error_type not in _QUOTE_IS_CAUSE:
        text = _ID.sub(lambda found: found[0] if _is_name(found[0]) else "<id>", text)
    text = _NUMBER.sub("<n>", text)
    return " ".join(text.split())[:300]


def _is_name(word: str) -> bool:
    """Whether a word with digits inside is spoken, as `utf8mb4_general_ci` and `base64decode`; ids are drawn by lot."""
    return len(_CHANGE.findall(word)) < _LEAST_CHANGES and all(map(_is_spoken, _LETTERS.findall(word)))


def _is_spoken(letters: str) -> bool:
    is_one_word = letters.islower() or letters.isupper() or letters.istitle()
    return len(letters) > 1 and is_one_word and (len(letters) < 4 or _VOWEL.search(letters) is not None)


def fingerprint(error_type: str, message: str, trace: TracebackType | None = None) -> str:
    """Twelve hex digits, equal for failures with one cause.

    The three innermost frames of our own code count; line numbers do not, so that a release
    does not split a group.
    """
    places = [
        f"{PurePath(frame.filename).name}:{frame.name}"
        for frame in traceback.extract_tb(trace)
        if "site-packages" not in frame.filename and "/lib/python" not in frame.filename
    ]
    text = "\n".join([error_type, message_shape(error_type, message), *places[-3:]])
    return hashlib.blake2b(text.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
