"""The terms under which a text is found: words in their comparable form, their stems, and the parts of compounds.

What readers write in several ways is one term: plurals and ezafe («کتاب‌های», «کتاب های», «کتابها»; «خانهٔ»,
«خانه‌ی», «خانه ی»), seats of the hamza («مسئول», «مسؤول», «مسوول»), and what is joined by a non-joiner or a hyphen
(«نیم‌فاصله», «نیم فاصله»; `e-mail`, `email`). Nothing is looked up in a dictionary: endings are cut by rule, and a text
keeps its whole words beside the stems.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from teknav_ops.storage.persian import normalise, words

#: An alternative is words that must all be there; an asked term has one or more of them.
Alternatives = tuple[tuple[str, ...], ...]

_LETTERS: Final = str.maketrans("يىك", "ییک")
_MARKS: Final = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u0640]")
_PLURAL: Final = "ها(?:یی?|یم|یت|یش|یمان|یتان|یشان|م|ت|ش)?"
_IS_ENDING: Final = re.compile(f"{_PLURAL}|تر(?:ین)?|ی|ای|ام|ات|اش|ایم|اید|اند|مان|تان|شان")
#: Written as a word of their own; «ی» and «ای» are endings behind a silent ه only.
_LOOSE: Final = (
    (re.compile(rf"(?<=\w) +(?=(?:{_PLURAL}|تر(?:ین)?)\b)"), "\u200c"),
    (re.compile(r"(?<=ه) +(?=(?:ی|ای|ام|ات|اش)\b)"), "\u200c"),
    (re.compile(r"\b(ن?می)\s+(?=\w)"), "\\1\u200c"),
)
_COMPOUND: Final = re.compile("\\w+(?:[\u200c\u2010\u2011-]\\w+)+")
_PARTS: Final = re.compile("[\u200c\u2010\u2011-]")
_VERB_PREFIX: Final = ("می", "نمی")
#: Joined endings, and what stands in their place; each leaves at least so many letters.
_CUTS: Final = (
    (re.compile(rf"(?<=..){_PLURAL}$"), ""),
    (re.compile(r"(?<=...)ترین$"), ""),
    (re.compile(r"(?<=..)ندگان$"), "نده"),
    (re.compile(r"(?<=...)گان$"), "ه"),
    (re.compile(r"(?<=..)ویان$"), "و"),
    (re.compile(r"(?<=...)ات$"), ""),
    (re.compile(r"(?<=..[او])یی?$"), ""),
)
#: Whole words that only look as if they had such an ending.
_WHOLE: Final = frozenset({"تنها", "انتها", "منتها", "بها", "رها", "گروگان", "رایگان", "بازرگان"})
#: Before letters are folded, which makes one letter of all seats of the hamza.
_HAMZA: Final = ((re.compile("ئو|ؤو|ؤ"), "و"), (re.compile("(?<!ا)ئ(?=[تل])"), "ا"), (re.compile("ء"), ""))
_DOUBLE: Final = re.compile("وو")


def stem(word: str) -> str:
    """A comparable word without its ending."""
    if word in _WHOLE or not word.isalpha():
        return word
    for ending, kept in _CUTS:
        cut = ending.sub(kept, word)
        if cut != word:
            return cut
    return word


def index_text(text: str) -> str:
    """The terms of a text, in its order, as they are put into the index."""
    return " ".join(term for written in _written(text) for term in _indexed(written))


def asked_terms(query: str) -> list[Alternatives]:
    """What a query asks for: each of these must be found, in one of its forms."""
    asked: list[Alternatives] = []
    for written in _written(query):
        asked += [_asked_compound(written)] if _PARTS.search(written) else map(_asked_word, words(written))
    return [alternatives for alternatives in asked if alternatives]


def shown_terms(word: str) -> set[str]:
    """The terms under which a word that is shown is found, to be highlighted."""
    return {term for written in _written(word) for term in _indexed(written)}


def _written(text: str) -> list[str]:
    """The words as they are written, compounds in one, with loose endings joined by a non-joiner."""
    text = unicodedata.normalize("NFC", text).translate(_LETTERS)
    for pattern, kept in (*_HAMZA, (_MARKS, ""), *_LOOSE):
        text = pattern.sub(kept, text)
    found, at = [], 0
    for compound in _COMPOUND.finditer(text):
        found += [*text[at : compound.start()].split(), compound[0]]
        at = compound.end()
    return [*found, *text[at:].split()]


def _forms(written: str) -> tuple[str, str, list[str]]:
    """A compound joined; the same without its endings; and its parts, where it has several."""
    parts = [part for part in _PARTS.split(written) if part]
    while len(parts) > 1 and _IS_ENDING.fullmatch(parts[-1]):
        parts.pop()
    is_verb = bool(parts) and parts[0] in _VERB_PREFIX
    joined = normalise("".join(parts))
    return _plain(normalise(_PARTS.sub("", written))), stem(_plain(joined)), [] if is_verb else parts


def _indexed(written: str) -> list[str]:
    if not _PARTS.search(written):
        return [term for word in words(written) for term in _word_terms(word)]
    joined, stemmed, parts = _forms(written)
    inside = [stem(_plain(word)) for part in parts if len(parts) > 1 for word in words(part)]
    return list(dict.fromkeys([*joined.split(), *stemmed.split(), *inside]))


def _word_terms(word: str) -> list[str]:
    plain = _plain(word)
    # «مسیول» is how some keyboards write «مسئول».
    forms = [plain, stem(plain), *([plain.replace("یول", "ول")] if "یول" in plain else [])]
    return list(dict.fromkeys(forms))


def _asked_word(word: str) -> Alternatives:
    return tuple(dict.fromkeys((form,) for form in (*_word_terms(word), word)))


def _asked_compound(written: str) -> Alternatives:
    joined, stemmed, parts = _forms(written)
    inside = tuple(stem(_plain(word)) for part in parts for word in words(part))
    forms = [tuple(joined.split()), tuple(stemmed.split()), inside]
    return tuple(dict.fromkeys(form for form in forms if form))


def _plain(word: str) -> str:
    return _DOUBLE.sub("و", word)
