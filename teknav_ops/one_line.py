"""What may stand as a name or title: one line of text, in any script."""

from __future__ import annotations

import unicodedata
from typing import Final

#: Control characters, and the two that end a line or a paragraph. Joiners and direction marks belong to Persian text.
_REFUSED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_one_line(text: str) -> bool:
    """Whether the text can be shown on one line. `str.isprintable` would refuse the half-space of Persian."""
    return all(unicodedata.category(sign) not in _REFUSED for sign in text)
