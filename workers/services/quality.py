"""What can be measured of an article without an opinion.

Readability is given where a published formula exists for the language: for English the Automated
Readability Index (Smith and Senter 1967) and the Coleman-Liau index (1975), both in US school grades.
For Persian there is no established formula that needs no hand-tuning, so the measure is left out.
"""

from __future__ import annotations

import re
from typing import Any, Final

from teknav_ops.storage.persian import normalise
from workers.services.ai_links import links
from workers.services.article_text import ArticleText, prose, sentences

_LONG_SENTENCE_WORDS: Final = 40
_LONG_PARAGRAPH_WORDS: Final = 200
_HEADINGS_FROM_WORDS: Final = 600
_WORD: Final = re.compile(r"[\w'’\u200c-]*\w[\w'’\u200c-]*")
_HEADING: Final = re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+\S", re.M)
_IMAGE: Final = re.compile(r"!\[([^\]]*)\]\(")
_ARABIC_LETTER: Final = re.compile(r"[يكى]")
_LOOSE_PREFIX: Final = re.compile(r"\bن?می (?=\w{2,})")
_QUOTE_LIMIT_CHARACTERS: Final = 160


def measure(article: ArticleText) -> dict[str, Any]:
    """Counts and, where there is a formula, readability."""
    text = prose(article.body)
    parts = sentences(text)
    words = _WORD.findall(text)
    measures: dict[str, Any] = {
        "word_count": len(words),
        "sentence_count": len(parts),
        "paragraph_count": len(text.split("\n\n")) if text else 0,
        "heading_count": len(_HEADING.findall(article.body)),
        "link_count": len(links(article.body)),
        "image_count": len(_IMAGE.findall(article.body)),
        "reading_minutes": round(len(words) / 200, 1),
    }
    if words and parts:
        lengths = sorted(len(_WORD.findall(part)) for part in parts)
        measures["mean_sentence_words"] = round(len(words) / len(parts), 1)
        measures["longest_sentence_words"] = lengths[-1]
        distinct = {normalise(word) for word in words}
        measures["distinct_word_share"] = round(len(distinct) / len(words), 3)
        if article.language == "en":
            measures |= readability(words, len(parts))
    return measures


def readability(words: list[str], sentence_count: int) -> dict[str, float]:
    """School grades that an English text asks for."""
    letters = sum(character.isalnum() for word in words for character in word)
    per_word, per_sentence = letters / len(words), len(words) / sentence_count
    return {
        "automated_readability_index": round(4.71 * per_word + 0.5 * per_sentence - 21.43, 1),
        "coleman_liau_index": round(5.88 * per_word - 29.6 / per_sentence - 15.8, 1),
    }


def find_problems(article: ArticleText) -> list[dict[str, str]]:
    """Places an editor should look at: each with its rule and a quote."""
    text = prose(article.body)
    found = [("long-sentence", part) for part in sentences(text) if len(_WORD.findall(part)) > _LONG_SENTENCE_WORDS]
    found += [("long-paragraph", part) for part in text.split("\n\n") if len(part.split()) > _LONG_PARAGRAPH_WORDS]
    if len(text.split()) > _HEADINGS_FROM_WORDS and not _HEADING.search(article.body):
        found.append(("no-headings", article.title))
    if any(not alt.strip() for alt in _IMAGE.findall(article.body)):
        found.append(("image-without-description", article.title))
    if article.language == "fa":
        found += [("arabic-letter", _around(text, place)) for place in _ARABIC_LETTER.finditer(text)]
        found += [("missing-half-space", _around(text, place)) for place in _LOOSE_PREFIX.finditer(text)]
    return [{"rule": rule, "quote": quote[:_QUOTE_LIMIT_CHARACTERS]} for rule, quote in found[:50]]


def _around(text: str, place: re.Match[str]) -> str:
    start = text.rfind(" ", 0, max(0, place.start() - 20)) + 1
    return text[start : place.end() + 30]
