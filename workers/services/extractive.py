"""What can be said of an article with its own words, when there is no model to ask.

Sentences are ranked by how many of the text's frequent words they hold; keywords are YAKE's. Every
result is a passage of the article, so nothing is invented.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from functools import cache
from importlib import resources
from typing import Final

from teknav_ops.storage.persian import normalise, words
from workers.services.article_text import ArticleText, prose, sentences

NAME: Final = "extractive"
TITLE_LIMIT_CHARACTERS: Final = 60
DESCRIPTION_LIMIT_CHARACTERS: Final = 160
#: YAKE splits at Latin punctuation only.
_LATIN_PUNCTUATION: Final = str.maketrans({"،": " , ", "؛": " ; ", "؟": " ? ", "«": ' " ', "»": ' " '})
_PERSIAN_VERB: Final = re.compile("ن?می[\u200c ]|.*(?:ند|اند|است|شود|کند|شد|کرد)$")
_LEAST_WORDS: Final = 5
_MOST_WORDS: Final = 60
_LEAD_BONUS: Final = 0.15


def summarise(article: ArticleText, sentence_count: int) -> str:
    """The sentences that say most, in the article's order, word for word."""
    text = sentences(prose(article.body))
    ranked = sorted(range(len(text)), key=_ranks(text, article.language).__getitem__, reverse=True)
    return " ".join(text[index] for index in sorted(ranked[:sentence_count])) or article.title


def _ranks(text: list[str], language: str) -> list[float]:
    """Mean weight of each sentence's words. Leads count a little more; fragments and monsters not at all."""
    bags = [[word for word in words(sentence) if word not in _stop_words(language)] for sentence in text]
    frequency = Counter(word for bag in bags for word in set(bag))
    ranks = []
    for index, bag in enumerate(bags):
        weight = sum(math.log1p(frequency[word]) for word in set(bag)) / math.sqrt(len(bag)) if bag else 0.0
        fits = _LEAST_WORDS <= len(text[index].split()) <= _MOST_WORDS
        ranks.append(weight * (1 + _LEAD_BONUS * (index == 0)) if fits else 0.0)
    return ranks


@cache
def _stop_words(language: str) -> frozenset[str]:
    # YAKE ships the lists; its own loader reads them anew for every extractor.
    listed = resources.files("yake").joinpath("core", "StopwordsList", f"stopwords_{language}.txt")
    return frozenset(word for line in listed.read_text("utf-8").splitlines() for word in words(line))


def keywords(article: ArticleText, count: int = 8) -> list[str]:
    """The article's terms, most telling first; of those that differ only in spelling, the first."""
    import yake

    text = f"{article.title}.\n\n{prose(article.body)}".translate(_LATIN_PUNCTUATION)
    extractor = yake.KeywordExtractor(lan=article.language, n=2, dedupLim=0.7, top=count * 6)
    terms: dict[str, str] = {}
    for term, _ in extractor.extract_keywords(text):
        if _is_term(str(term), article.language):
            terms.setdefault(normalise(str(term)), str(term))
    return list(terms.values())[:count]


def _is_term(term: str, language: str) -> bool:
    """Verbs tell nothing by themselves, nor do stop words at an end."""
    parts = term.split()
    edges = [normalise(parts[0]), normalise(parts[-1])]
    is_verb = any(_PERSIAN_VERB.match(part) for part in parts)
    return not is_verb and all(len(edge) > 1 and edge not in _stop_words(language) for edge in edges)


def seo_title(article: ArticleText) -> str:
    """The title, cut between words where it is longer than search engines show."""
    return shorten(article.title, TITLE_LIMIT_CHARACTERS)


def meta_description(article: ArticleText) -> str:
    """The leading sentence of a summary, cut between words where it is too long."""
    return shorten(summarise(article, 1), DESCRIPTION_LIMIT_CHARACTERS)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, cut between words, with an ellipsis that counts."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    return (cut[: cut.rfind(" ")] if " " in cut else cut).rstrip(" .,;:،؛-–—‌") + "…"
