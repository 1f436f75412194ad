"""The passage of a text that answers a query, and where in it the words stand."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Final

from teknav_ops.storage.persian import words

_LENGTH_CHARACTERS: Final = 160
_LEAD_CHARACTERS: Final = 60
_CUT: Final = "…"
#: A word as readers see it: with its diacritics, tatweel and non-joiners, and the verb prefix written apart.
_SEEN_WORD: Final = re.compile(r"(?:\bن?م[یي]\s)?\w[\w\u0300-\u036f\u064b-\u065f\u0670\u0640\u200c\u200d\u00ad]*")


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """Part of a text in its own spelling; `highlights` are the (start, end) of matching words in `text`."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def find_passage(body: str, asked: Sequence[str]) -> Passage:
    """The part around the first word that matches, else the beginning. `asked` as from `persian.words`."""
    plain = " ".join(body.split())
    first = next(_matches(plain, asked), (0, 0))[0]
    start, end = _bounds(plain, first)
    before = f"{_CUT} " if start else ""
    after = f" {_CUT}" if end < len(plain) else ""
    highlights = tuple((at + len(before), to + len(before)) for at, to in _matches(plain[start:end], asked))
    return Passage(before + plain[start:end] + after, highlights)


def _bounds(plain: str, first: int) -> tuple[int, int]:
    """Cut between words, unless a word is longer than the passage."""
    start = max(0, first - _LEAD_CHARACTERS)
    if start:
        start = max(start, plain.find(" ", start, first) + 1)
    if len(plain) - start <= _LENGTH_CHARACTERS:
        return start, len(plain)
    end = start + _LENGTH_CHARACTERS
    return start, max(plain.rfind(" ", first, end), 0) or end


def _matches(plain: str, asked: Sequence[str]) -> Iterator[tuple[int, int]]:
    for found in _SEEN_WORD.finditer(plain):
        if any(word in asked or word.startswith(asked[-1]) for word in words(found[0])):
            yield found.span()
