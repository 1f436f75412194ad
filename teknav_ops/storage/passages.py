"""The passage of a text that answers a query, and where in it the words stand."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Collection, Iterator
from typing import Final

from teknav_ops.storage.persian import normalise
from teknav_ops.storage.persian_terms import shown_pair, shown_terms

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
    spans = [span for found in _SEEN_WORD.finditer(plain) for span in _pieces(found, wanted)]
    seen = [plain[start:end] for start, end in spans]
    in_pair: set[int] = set()
    for at, (one, other) in enumerate(itertools.pairwise(seen)):
        if plain[spans[at][1] : spans[at + 1][0]] == " " and shown_pair(one, other) in wanted:
            in_pair |= {at, at + 1}
    for at, word in enumerate(seen):
        if at in in_pair or any(term in wanted or term.startswith(beginnings) for term in shown_terms(word)):
            yield spans[at]


def _pieces(found: re.Match[str], wanted: Collection[str]) -> list[tuple[int, int]]:
    """A word as one, or the parts between its hyphens where it is not found as one."""
    joined = _HYPHEN.sub("", found[0])
    if joined == found[0] or normalise(joined) in wanted:
        return [found.span()]
    return [(found.start() + piece.start(), found.start() + piece.end()) for piece in _PIECE.finditer(found[0])]
