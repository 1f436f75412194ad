"""Whether a text is Persian or English, by its letters: those that only Persian has, and those that it lacks.

Arabic, Urdu, Pashto and Kurdish share most letters with Persian. What tells them apart:
پ چ ژ گ ک ی and the non-joiner speak for Persian against Arabic; ة إ and words that begin with ال for Arabic;
letters such as ٹ ہ ے ښ ێ, which Persian lacks, for the others. ي ك ى, which many keyboards write for ی ک, are
corrected and speak for neither. English is told from others that write without accents by their small words.
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
_LATIN_WORD: Final = re.compile(r"[^\W\d_]+(?:[-'’][^\W\d_]+)*")
_MOST_FOREIGN_WORDS_SHARE: Final = 0.12
_ENGLISH_WORDS: Final = """
the of and to is that for with are this from it its by which when not has have can you your how what they their who
where into than but if we our each every a an in on as at be or was will
"""
#: Small words that English does not have, of French, Spanish, Portuguese, Italian, German, Dutch and Turkish, and of
#: Persian in Latin letters.
_OTHER_WORDS: Final = """
la le les des du une dans pour qui que est sont avec sur au aux ce cette ces il elle ils ne pas et ou leur nous vous
el los las por para con se del al es como su sus lo pero ya y os uma em com não dos das ao pelo pela são
gli che di della dei delle sono nel nella si der das und ist ein eine einer nicht mit auf für von dem sich wird
werden sie zu bei auch nach wie oder aus de het een en dat niet voor zijn te wordt naar
bir ve bu ile icin için olarak daha ast ke dar az baraye ra yek
"""
_SMALL_WORDS: Final = frozenset(_ENGLISH_WORDS.split())
_SMALL_WORDS_OF_OTHERS: Final = frozenset(_OTHER_WORDS.split())


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
    if _is_of_another_latin_language(prose):
        return False
    is_accented = accented > _FEW_WORDS and accented > _MOST_ACCENTED_SHARE_IN_ENGLISH * len(letters)
    return not is_accented and others <= _MOST_OTHER_SHARE_IN_ENGLISH * len(letters)


def _is_of_another_latin_language(prose: str) -> bool:
    """By its small words: without accents, its letters are those of English."""
    words = _LATIN_WORD.findall(prose.lower())
    foreign = sum(word in _SMALL_WORDS_OF_OTHERS for word in words)
    english = sum(word in _SMALL_WORDS for word in words)
    return foreign >= _FEW_WORDS and foreign > max(english, _MOST_FOREIGN_WORDS_SHARE * len(words))


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
