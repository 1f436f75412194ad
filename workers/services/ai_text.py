"""Checks on what a model wrote: its language, its links, its code, its letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

_CODE: Final = re.compile(r"^(```|~~~).*?^\1[^\n]*$|`[^`\n]+`", re.M | re.S)
_FENCE: Final = re.compile(r"^(?:```|~~~)[^\n]*\n(.*?)^(?:```|~~~)", re.M | re.S)
_URL: Final = re.compile(r"https?://[^\s<>()\[\]\"'«»]+")
_HTML: Final = re.compile(r"<\s*/?\s*(?:script|iframe|object|embed|style|img|form|a|div|span)\b|javascript:", re.I)
_LETTERS: Final = str.maketrans("يىك", "ییک")
#: A Persian text on technology is full of Latin terms; an English one has no use for Persian letters.
_LEAST_PERSIAN_SHARE: Final = 0.5
_MOST_PERSIAN_SHARE_IN_ENGLISH: Final = 0.1


def language_problems(name: str, text: str, language: str) -> list[str]:
    """Whether the text is in the language that was asked for; code and links do not count."""
    share = _persian_share(text)
    if share is None:
        return []
    if language == "fa" and share < _LEAST_PERSIAN_SHARE:
        return [f"{name}: must be written in Persian"]
    if language == "en" and share > _MOST_PERSIAN_SHARE_IN_ENGLISH:
        return [f"{name}: must be written in English"]
    return []


def _persian_share(text: str) -> float | None:
    prose = _URL.sub(" ", _CODE.sub(" ", text))
    letters = [character for character in prose if character.isalpha()]
    if not letters:
        return None
    return sum(unicodedata.name(letter, "").startswith("ARABIC") for letter in letters) / len(letters)


def links(text: str) -> set[str]:
    """The addresses a text links to."""
    return {found.rstrip(".,;:!?؟،؛*_`") for found in _URL.findall(text)}


def link_problems(name: str, text: str, *, allowed: Iterable[str], required: Iterable[str] = ()) -> list[str]:
    """Links that the material does not hold, or that got lost; HTML that could carry some."""
    found = links(text)
    problems = [f"{name}: {link} is not in the material; remove it" for link in sorted(found - set(allowed))]
    problems += [f"{name}: the link {link} is missing" for link in sorted(set(required) - found)]
    if _HTML.search(_CODE.sub(" ", text)):
        problems.append(f"{name}: must be Markdown without HTML")
    return problems[:5]


def code_problems(name: str, text: str, original: str) -> list[str]:
    """Whether every code block of the original is still there, unchanged."""
    kept = [block.strip() for block in _FENCE.findall(text)]
    lost = sum(block.strip() not in kept for block in _FENCE.findall(original))
    return [f"{name}: {lost} of the code blocks are missing or changed"] if lost else []


def persian_letters(text: str) -> str:
    """Arabic yeh and kaf as Persian readers expect them; nothing else is touched, the non-joiner least of all."""
    return text.translate(_LETTERS)


def in_house_spelling(text: str, language: str) -> str:
    """The text as it is stored: Persian letters in Persian texts, code left alone."""
    if language != "fa":
        return text
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [persian_letters(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, persian_letters(text[end:])])
