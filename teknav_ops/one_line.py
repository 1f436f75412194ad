"""Text of others as it is shown: what may stand on one line, and signs that reorder what stands around them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Control characters, and the two that end a line or a paragraph. Joiners and direction marks belong to Persian text.
_REFUSED: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})


def is_one_line(text: str) -> bool:
    """Whether the text can be shown on one line. `str.isprintable` would refuse the half-space of Persian."""
    return all(unicodedata.category(sign) not in _REFUSED for sign in text)


#: Embeddings, overrides and isolates: with them a text is read in another order than it is stored in. Marks of Persian
#: (the half-space, the direction marks) are none.
_OVERRIDES: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")


def with_seen_overrides(text: str) -> str:
    """The text with the signs that would reorder it written out, as JSON spells them: `\\u202e`."""
    return _OVERRIDES.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


#: What a terminal obeys, but for line ends and tabs: the first signs of sequences that clear it, colour it or set its
#: title, in both their forms; and the overrides.
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def for_terminal(text: str) -> str:
    """The text with all that a terminal would obey written out likewise. Errors quote what others answered."""
    return _OBEYED.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)
