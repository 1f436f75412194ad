"""Persian text made comparable: the same for what is indexed and what is asked.

Readers type Arabic or Persian letters, with or without the zero-width non-joiner. Letters are
folded to one form. The non-joiner is *removed*, so that «می‌شود» and «میشود» are one word;
the verb prefixes «می» and «نمی» are joined to their verb even when written apart.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_SAME: Final = {
    "ی": "يىئ", "ک": "ك", "ه": "ةۀ", "ا": "أإآٱ", "و": "ؤ",
    "": "\u200c\u200d\u200e\u200fـ\ufeff\u00ad",
    **{str(digit): "۰۱۲۳۴۵۶۷۸۹"[digit] + "٠١٢٣٤٥٦٧٨٩"[digit] for digit in range(10)},
}  # fmt: skip
_WORD: Final = re.compile(r"\w+")
#: Verb prefixes that are written apart, with a non-joiner, or joined: «می شود», «می‌شود», «میشود».
_LOOSE_PREFIX: Final = re.compile(r"\b(ن?می)\s+(?=\w)")


def fold(text: str) -> str:
    """The text with its letters and digits in their comparable form, and all else as it is but for single spaces."""
    folded = text.casefold()
    if not text.isascii():
        folded = unicodedata.normalize("NFKC", text)
        # Letter by letter: several times as fast as a table for all, since most occur in no text.
        for same, others in _SAME.items():
            for other in others:
                folded = folded.replace(other, same)
        folded = unicodedata.normalize("NFKD", folded.casefold())
        for mark in filter(unicodedata.combining, set(folded)):
            folded = folded.replace(mark, "")
        folded = _LOOSE_PREFIX.sub(r"\1", folded) if "می" in folded else folded
    return " ".join(folded.split())


def normalise(text: str) -> str:
    """The comparable words of a text, separated by single spaces."""
    return " ".join(_WORD.findall(fold(text)))


def words(text: str) -> list[str]:
    """The comparable words of a query."""
    return normalise(text).split()
