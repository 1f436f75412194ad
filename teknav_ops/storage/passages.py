"""The passage of a text that answers a query, and where in it the words stand."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator
from typing import Final

from teknav_ops.storage.persian import normalise
from teknav_ops.storage.persian_terms import shown_terms

_LENGTH_CHARACTERS: Final = 160
_LEAD_CHARACTERS: Final = 60
_CUT: Final = "…"
#: A word as readers see it: with its diacritics, tatweel and non-joiners, and the verb prefix written apart.
_SEEN_WORD: Final = re.compile(
    r"(?:\bن?م[یي]\s)?\w[\w\u0300-\u036f\u064b-\u065f\u0670\u0640\u200c\u200d\u00ad]*(?:[-\u2010\u2011]\w+)*"
)

_HYPHEN: Final = re.compile("[-\u2010\u2011]")
_PIECE: Final = re.compile("[^-\u2010\u2011]+")


@dataclasses.dataclass(frozen=True, slots=True)
class Passage:
    """Part of a text in its own spelling; `highlights` are the (start, end) of matching words in `text`."""

    text: str
    highlights: tuple[tuple[int, int], ...]


def find_passage(body: str, wanted: Collection[str], beginnings: tuple[str, ...]) -> Passage:
    """The part around the first word that matches one of the terms, or begins so; else the beginning."""
    plain = " ".join(body.split())
    first = next(_matches(plain, wanted, beginnings), (0, 0))[0]
    start, end = _bounds(plain, first)
    before = f"{_CUT} " if start else ""
    after = f" {_CUT}" if end < len(plain) else ""
    highlights = tuple(
        (at + len(before), to + len(before)) for at, to in _matches(plain[start:end], wanted, beginnings)
    )
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


def _matches(plain: str, wanted: Collection[str], beginnings: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for found in _SEEN_WORD.finditer(plain):
        if (
            found[0].isalnum()
            or _HYPHEN.sub("", found[0]) == found[0]
            or normalise(_HYPHEN.sub("", found[0])) in wanted
        ):
            pieces = [found.span()]
        else:
            pieces = [
                (found.start() + piece.start(), found.start() + piece.end()) for piece in _PIECE.finditer(found[0])
            ]
        for start, end in pieces:
            terms = shown_terms(plain[start:end])
            if any(term in wanted or term.startswith(beginnings) for term in terms):
                yield start, end
