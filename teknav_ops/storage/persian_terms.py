"""The terms under which a text is found: words in their comparable form, their stems, and the parts of compounds.

What readers write in several ways is one term: plurals and ezafe («کتاب‌های», «کتاب های», «کتابها»; «مقاله», «مقالات»;
«خانهٔ», «خانه‌ی», «خانه ی»), seats of the hamza («مسئول», «مسؤول», «مسوول»), and compounds: joined by a non-joiner or a
hyphen, written as one word or apart («لپ‌تاپ», «لپتاپ», «لپ تاپ»; `e-mail`, `email`, `e mail`). Nothing is looked up in
a dictionary: endings are cut by rule, and a text keeps its whole words beside the stems and the pairs.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from teknav_ops.storage.persian import normalise, words
from teknav_ops.storage.persian_plurals import singulars

#: An alternative is words that must all be there; an asked term has one or more of them.
Alternatives = tuple[tuple[str, ...], ...]

_LETTERS: Final = str.maketrans("يىك", "ییک")
_MARKS: Final = re.compile("[\u0610-\u061a\u064b-\u065f\u0670\u0640]")
_PLURAL: Final = "ها(?:یی?|یم|یت|یش|یمان|یتان|یشان|م|ت|ش)?"
_IS_ENDING: Final = re.compile(f"{_PLURAL}|تر(?:ین)?|ی|ای|ام|ات|اش|ایم|اید|اند|مان|تان|شان|ان|یان|گان|جات")
#: Written as a word of their own; «ی» and «ای» are endings behind a silent ه only.
_LOOSE: Final = (
    (re.compile(rf"(?<=\w) +(?=(?:{_PLURAL}|تر(?:ین)?|جات)\b)"), "\u200c"),
    (re.compile(r"(?<=ه) +(?=(?:ی|ای|ام|ات|اش)\b)"), "\u200c"),
    (re.compile(r"\b(ن?می)\s+(?=\w)"), "\\1\u200c"),
)
# Looked for at the beginnings of words only: tried at each letter, a word of 400,000 takes half an hour.
_COMPOUND: Final = re.compile("\\b\\w+(?:[\u200c\u2010\u2011-]\\w+)+")
_PARTS: Final = re.compile("[\u200c\u2010\u2011-]")
_VERB_PREFIX: Final = ("می", "نمی")
#: Joined endings, and what stands in their place; each leaves at least so many letters.
_CUTS: Final = (
    (re.compile(rf"(?<=..){_PLURAL}$"), ""),
    (re.compile(r"(?<=...)ترین$"), ""),
    (re.compile(r"(?<=..[او])یی?$"), ""),
)
#: Whole words that only look as if they had such an ending.
_WHOLE: Final = frozenset({"تنها", "انتها", "منتها", "بها", "رها"})
#: Before letters are folded, which makes one letter of all seats of the hamza.
_HAMZA: Final = ((re.compile("ئو|ؤو|ؤ"), "و"), (re.compile("(?<!ا)ئ(?=[تل])"), "ا"), (re.compile("ء"), ""))
_DOUBLE: Final = re.compile("وو")
#: Before two words that stand side by side, joined: a letter that no text has, so that no word's beginning finds them.
_PAIR: Final = "\u06ff"
_PAIR_LIMIT_CHARACTERS: Final = 14
#: Words that are never half of another.
_NEVER_JOINED: Final = frozenset(
    words("از به با در بر که تا و یا این ان را هر چه اگر اما ولی برای است بود شد")
    + words("a an the in on at for to of is are was and or by")
)


@functools.lru_cache(maxsize=20_000)
def stems(word: str) -> tuple[str, ...]:
    """What a comparable word is without its ending; several where nobody sees which, none where it has no ending."""
    if word in _WHOLE or not word.isalpha():
        return ()
    if found := singulars(word):
        return found
    for ending, kept in _CUTS:
        cut = ending.sub(kept, word)
        if cut != word:
            return (cut,)
    return ()


def index_text(text: str) -> str:
    """The terms of a text as they are put into the index: its words in their order, then those that may be one."""
    written = _written(text)
    terms = [term for item in written for term in _indexed(item)]
    pairs = (_pair(*both) for both in itertools.pairwise(written))
    return " ".join([*terms, *(f"{_PAIR}{pair}" for pair in pairs if pair)])


def asked_terms(query: str) -> list[Alternatives]:
    """What a query asks for: each of these must be found, in one of its forms."""
    written = _written(query)
    pairs = [_pair(*both) for both in itertools.pairwise(written)]
    asked: list[Alternatives] = []
    for at, item in enumerate(written):
        joined = [(pair,) for pair in pairs[max(0, at - 1) : at + 1] if pair]
        asked += ((*alternatives, *joined) for alternatives in _asked(item))
    return asked


def shown_terms(word: str) -> set[str]:
    """The terms under which a word that is shown is found, to be highlighted."""
    return {term for written in _written(word) for term in _indexed(written)}


def shown_pair(one: str, other: str) -> str:
    """The term under which two words that are shown side by side are found; empty where they are not one."""
    pair = _pair(one, other)
    return f"{_PAIR}{pair}" if pair else ""


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


def _pair(one: str, other: str) -> str:
    """Two words as one, without its ending; empty where they cannot be one, such as where a comma stands between."""
    before, after = _half(one), _half(other)
    if not (before and after and one[-1].isalpha() and other[0].isalpha()):
        return ""
    joined = _plain(before + after)
    return _main(joined) if len(joined) <= _PAIR_LIMIT_CHARACTERS else ""


@functools.lru_cache(maxsize=20_000)
def _half(written: str) -> str:
    """A written word as it would stand in a longer one; empty for what never does."""
    word = normalise(_PARTS.sub("", written))
    return word if word.isalpha() and word not in _NEVER_JOINED else ""


def _forms(written: str) -> tuple[str, list[str], list[str]]:
    """A compound joined; the same without its endings; and its parts, where it has several."""
    parts = [part for part in _PARTS.split(written) if part]
    while len(parts) > 1 and _IS_ENDING.fullmatch(parts[-1]):
        parts.pop()
    is_verb = bool(parts) and parts[0] in _VERB_PREFIX
    joined = _plain(normalise("".join(parts)))
    return _plain(normalise(_PARTS.sub("", written))), [*(stems(joined) or (joined,))], [] if is_verb else parts


@functools.lru_cache(maxsize=20_000)
def _indexed(written: str) -> tuple[str, ...]:
    if not _PARTS.search(written):
        return tuple(term for word in words(written) for term in _word_terms(word))
    joined, stemmed, parts = _forms(written)
    inside = [term for part in parts if len(parts) > 1 for term in itertools.chain(*_part_terms(part))]
    return tuple(dict.fromkeys([*joined.split(), *" ".join(stemmed).split(), *inside]))


def _part_terms(part: str) -> Iterator[tuple[str, ...]]:
    for word in map(_plain, words(part)):
        yield stems(word) or (word,)


def _word_terms(word: str) -> list[str]:
    plain = _plain(word)
    # «مسیول» is how some keyboards write «مسئول».
    forms = [plain, *stems(plain), *([plain.replace("یول", "ول")] if "یول" in plain else [])]
    return list(dict.fromkeys(forms))


def _asked(written: str) -> Iterable[Alternatives]:
    """What one written word asks for; several things where it holds other signs than letters."""
    if not _PARTS.search(written):
        return map(_asked_word, words(written))
    joined, stemmed, parts = _forms(written)
    inside = [*itertools.product(*(terms for part in parts for terms in _part_terms(part)))]
    apart = [_apart(form) for form in stemmed[:1]]
    found = _distinct([tuple(joined.split()), *(tuple(form.split()) for form in stemmed), *inside, *apart])
    return [found] if found else []


def _asked_word(word: str) -> Alternatives:
    return _distinct([*((form,) for form in (*_word_terms(word), word)), _apart(_main(_plain(word)))])


def _apart(word: str) -> tuple[str, ...]:
    """How a word is found that a text has written as two."""
    return (f"{_PAIR}{word}",) if word.isalpha() else ()


def _distinct(forms: list[tuple[str, ...]]) -> Alternatives:
    return tuple(dict.fromkeys(form for form in forms if form))


def _main(word: str) -> str:
    return (stems(word) or (word,))[0]


def _plain(word: str) -> str:
    return _DOUBLE.sub("و", word)
