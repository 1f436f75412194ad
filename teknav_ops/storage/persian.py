"""Persian text made comparable: the same for what is indexed and what is asked.

Readers type Arabic or Persian letters, with or without the zero-width non-joiner. Letters are
folded to one form. The non-joiner is *removed*, so that «می‌شود» and «میشود» are one word;
the verb prefixes «می» and «نمی» are joined to their verb even when written apart.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LETTERS: Final = str.maketrans(
    {
        "ي": "ی", "ى": "ی", "ئ": "ی", "ك": "ک", "ة": "ه", "ۀ": "ه",
        "أ": "ا", "إ": "ا", "آ": "ا", "ٱ": "ا", "ؤ": "و",
        "‌": None, "‍": None, "‎": None, "‏": None, "ـ": None, "﻿": None, "­": None,
    }
)  # fmt: skip
_DIGITS: Final = str.maketrans("۰۱۲۳۴۵۶۷۸۹٠١٢٣٤٥٦٧٨٩", "01234567890123456789")
_WORD: Final = re.compile(r"\w+")
#: Verb prefixes that are written apart, with a non-joiner, or joined: «می شود», «می‌شود», «میشود».
_LOOSE_PREFIX: Final = re.compile(r"\b(ن?می)\s+(?=\w)")


def normalise(text: str) -> str:
    """The text in its comparable form; words stay separated by single spaces."""
    folded = unicodedata.normalize("NFKC", text).translate(_LETTERS).translate(_DIGITS).casefold()
    bare = "".join(c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c))
    return " ".join(_WORD.findall(_LOOSE_PREFIX.sub(r"\1", bare)))


def words(text: str) -> list[str]:
    """The comparable words of a query."""
    return normalise(text).split()
