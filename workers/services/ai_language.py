"""Whether a text is Persian or English, by its letters: those that only Persian has, and those that it lacks.

Arabic, Urdu, Pashto and Kurdish share most letters with Persian. What tells them apart:
پ چ ژ گ ک ی and the non-joiner speak for Persian against Arabic; ة إ and words that begin with ال for Arabic;
letters such as ٹ ہ ے ښ ێ, which Persian lacks, for the others. ي ك ى, which many keyboards write for ی ک, are
corrected and speak for neither.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal

Language = Literal["fa", "en"]

_PERSIAN_ONLY: Final = frozenset("پچژگکی")
_CORRECTED: Final = frozenset("يىك")
#: All that a Persian text is written with; what Arabic words keep in Persian (ؤ ئ أ ء) included.
_PERSIAN: Final = frozenset("ءآأؤئابپتثجچحخدذرزژسشصضطظعغفقکگلمنوهی") | _CORRECTED | frozenset("ۀ")
#: What Arabic words and names may bring into a Persian text; any other letter of the script is of another language.
_OF_ARABIC: Final = frozenset("ةإٱ")
_ARABIC_WORD: Final = re.compile(r"[\u0600-\u06ff\u200c]+")
_NON_JOINER: Final = "\u200c"
#: A Persian text on technology is full of Latin terms; an English one has no use for Persian letters.
_LEAST_PERSIAN_SHARE: Final = 0.5
_MOST_FOREIGN_SHARE: Final = 0.03
_MOST_AL_SHARE: Final = 0.2
_MOST_OTHER_SHARE_IN_ENGLISH: Final = 0.1
_MOST_ACCENTED_SHARE_IN_ENGLISH: Final = 0.03
_FEW_WORDS: Final = 3
_SOME_WORDS: Final = 6


def language_problem(prose: str, languages: Iterable[Language]) -> str | None:
    """What is wrong with the language of a text without code and links; None where it is one of `languages`."""
    wanted, prose = tuple(languages), unicodedata.normalize("NFKC", prose)
    if not any(sign.isalpha() for sign in prose):
        return "must hold words"
    if any(_is_persian(prose) if language == "fa" else _is_english(prose) for language in wanted):
        return None
    return f"must be written in {' or '.join({'fa': 'Persian', 'en': 'English'}[language] for language in wanted)}"


def list_problem(items: Iterable[str], language: Language) -> str | None:
    """The same for a list of terms, such as keywords: Persian texts have Latin ones too, but not only those."""
    terms = [unicodedata.normalize("NFKC", item) for item in items]
    if language == "fa":
        terms = [term for term in terms if not _is_latin(term)] or [" ".join(terms)]
    wrong = next((term for term in [*terms, " ".join(terms)] if language_problem(term, (language,))), None)
    return wrong and f"{language_problem(wrong, (language,))}; {wrong[:60]!r} is not"


def _is_latin(text: str) -> bool:
    return all(unicodedata.name(sign, "").startswith("LATIN") for sign in text if sign.isalpha())


def _is_english(prose: str) -> bool:
    letters = [letter for letter in prose if letter.isalpha()]
    foreign = [letter for letter in letters if not letter.isascii()]
    others = sum(not unicodedata.name(letter, "").startswith("LATIN") for letter in foreign)
    accented = len(foreign) - others
    is_accented = accented > _FEW_WORDS and accented > _MOST_ACCENTED_SHARE_IN_ENGLISH * len(letters)
    return not is_accented and others <= _MOST_OTHER_SHARE_IN_ENGLISH * len(letters)


def _is_persian(prose: str) -> bool:
    letters = [letter for letter in prose if letter.isalpha()]
    shared = [letter for letter in letters if unicodedata.name(letter, "").startswith("ARABIC")]
    if len(shared) < _LEAST_PERSIAN_SHARE * len(letters):
        return False
    words = _ARABIC_WORD.findall(prose)
    own = sum(letter in _PERSIAN_ONLY for letter in shared) + prose.count(_NON_JOINER)
    foreign = sum(letter not in _PERSIAN for letter in shared)
    of_others = sum(letter not in _PERSIAN | _OF_ARABIC for letter in shared)
    return not (
        (foreign > 1 and foreign > _MOST_FOREIGN_SHARE * len(shared))
        or of_others > _MOST_FOREIGN_SHARE * len(shared)
        or (foreign and not own)
        or (len(words) >= _FEW_WORDS and not own and any(letter in _CORRECTED for letter in shared))
        or _al_count(words) > max(own if len(words) >= _FEW_WORDS else len(words), _MOST_AL_SHARE * len(words))
        or (len(words) >= _SOME_WORDS and (not own or _al_count(words) > _MOST_AL_SHARE * len(words)))
    )


def _al_count(words: list[str]) -> int:
    """Words with the Arabic article, alone or behind و ب ل; الگو and الکترون are Persian by their own letters."""
    return sum(re.match("[وبفك]?ال..", word) is not None and not frozenset("پچژگ") & frozenset(word) for word in words)
