"""A known secret as texts write it: as it is, or as URLs, JSON, programs, HTML and base64 spell it."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterator
from html.entities import codepoint2name
from typing import Final

#: No character is spelled with more.
_LONGEST_SPELLING_CHARACTERS: Final = 12
#: Longer secrets are looked for as they are only: a pattern costs time by their length.
_LONGEST_SPELLED_CHARACTERS: Final = 2_000
#: What nobody spells otherwise: such a secret is looked for as it is.
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")
#: Shorter ones are in base64 what other texts are, too.
_LEAST_ENCODED_BYTES: Final = 8
#: One of these stands in whatever is spelled otherwise than it is.
_SIGNS: Final = re.compile(r"[%\\&+]")
#: By which letter programs and JSON write what ends a line.
_LETTERS: Final = {"\n": "n", "\r": "r", "\t": "t"}
#: Of the first characters, so many also hold what stands before the secret, by how many bytes that is beyond threes.
_SHARED_CHARACTERS: Final = (0, 2, 3)


def mask_known(text: str, secret: str, mask: str) -> str:
    """The text with `mask` where the secret stands, however it is spelled."""
    text = text.replace(secret, mask)
    if len(secret) > _LONGEST_SPELLED_CHARACTERS:
        return text
    spelled, encoded = _forms(secret)
    if spelled is not None and _SIGNS.search(text):
        text = spelled.sub(lambda _: mask, text)
    for each in encoded:
        text = text.replace(each, mask)
    return text


def longest_spelling(secret: str) -> int:
    """How many characters the secret may take in a text."""
    is_spelled = len(secret) <= _LONGEST_SPELLED_CHARACTERS
    return len(secret) * (_LONGEST_SPELLING_CHARACTERS if is_spelled else 1)


@functools.lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[re.Pattern[str] | None, tuple[str, ...]]:
    """What it looks like spelled by characters, where any of them is, and in base64. Made once for many texts."""
    spelled = None if _PLAIN.fullmatch(secret) else re.compile("".join(map(_spellings, secret)))
    return spelled, tuple(dict.fromkeys(_encoded(secret.encode("utf-8", "surrogatepass"))))


def _spellings(character: str) -> str:
    """A pattern of one character, as it is or spelled."""
    if _PLAIN.fullmatch(character):
        return re.escape(character)
    code = ord(character)
    octets = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    forms = [
        re.escape(character),
        # A URL's; a program's bytes; JSON's and a program's text, also within another text; HTML's.
        "".join(f"%(?i:{octet:02x})" for octet in octets),
        "".join(rf"\\{{1,4}}x(?i:{octet:02x})" for octet in octets),
        "".join(rf"\\{{1,4}}u(?i:{units[at : at + 2].hex()})" for at in range(0, len(units), 2)),
        rf"&\#(?:0{{0,4}}{code}|(?i:x0{{0,4}}{code:x}));",
    ]
    name = {"'": "apos"}.get(character) or codepoint2name.get(code)
    forms += [f"&{name};"] if name else []
    forms += [rf"\\{{1,4}}{re.escape(character)}"] if character in "\"'\\/" else []
    forms += [r"\+"] if character == " " else []
    forms += [rf"\\{{1,4}}{_LETTERS[character]}"] if character in _LETTERS else []
    return f"(?:{'|'.join(forms)})"


def _encoded(secret: bytes) -> Iterator[str]:
    """What of the secret stands in base64 whatever stands around it, as in `Basic` and in mail servers' sign-in."""
    if len(secret) < _LEAST_ENCODED_BYTES:
        return
    for before, shared in enumerate(_SHARED_CHARACTERS):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(bytes(before) + secret).decode().rstrip("=")
            is_shared = (before + len(secret)) % 3 != 0
            yield whole[shared : len(whole) - is_shared]
