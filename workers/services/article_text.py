"""An article as a text task reads it: without a transaction that stays open while a model writes."""

from __future__ import annotations

import dataclasses
import re
from html import unescape
from typing import Any, Final

from teknav_ops.errors import PermanentError
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Article
from workers.services.ai_language import Language

_FENCE: Final = re.compile(r"^(```|~~~).*?^\1[^\n]*$", re.M | re.S)
_MARKUP: Final = re.compile(r"^[ \t]{0,3}(?:#{1,6}[ \t]+|>[ \t]?|[-*+][ \t]+|\d+[.)][ \t]+)", re.M)
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)")
_FENCE_LINE: Final = re.compile(r"^(?:```|~~~).*$", re.M)
_DEFINITION: Final = re.compile(r"^[ \t]{0,3}\[[^\]\n]{1,200}\]:.*$", re.M)
_TAG: Final = re.compile(
    r"<!--.*?(?:-->|\Z)|<(style|script)\b.*?(?:</\1\s*>|\Z)|</?[a-z][^<>]*>", re.DOTALL | re.IGNORECASE
)
_ADDRESS: Final = re.compile(r"\bhttps?://\S+", re.IGNORECASE)
_EMPHASIS: Final = re.compile(r"(\*\*|__|\*|_|`)(?=\S)(.+?)(?<=\S)\1")
#: Persian and English sentences end alike, but for the question mark; «۳.۵» and "3.5" do not end one.
_SENTENCE_END: Final = re.compile(r"(?<=[.!?؟…])[\s»”\")]*\s+(?=\S)")


class UnknownArticle(PermanentError):
    """There is no article with this id."""


class EmptyArticle(PermanentError):
    """The article has no words yet: nothing is asked of a model, and nothing paid."""


@dataclasses.dataclass(frozen=True, slots=True)
class ArticleText:
    """One version of an article."""

    id: int
    version: int
    language: str
    title: str
    body: str

    def material(self, **more: Any) -> dict[str, Any]:
        """What a model is given."""
        return {"language": self.language, "title": self.title, "body": self.body, **more}


def read_article(database: Database, article_id: int) -> ArticleText:
    """The article as it is now. Raises UnknownArticle or EmptyArticle."""
    with database.reading() as session:
        article = session.get(Article, article_id)
        if article is None:
            raise UnknownArticle(f"article_id: there is no article {article_id}")
        if not _has_words(article.body):
            raise EmptyArticle(f"article_id: article {article_id} has no text; write it first")
        return ArticleText(article.id, article.version, article.language, article.title, article.body)


def _has_words(markdown: str) -> bool:
    """Whether anybody reads a word there: marks, tags, addresses and figures are none, code is."""
    text = _LINK.sub(r"\1", _LINK.sub(r"\1", _FENCE_LINE.sub("", markdown)))
    text = _ADDRESS.sub("", _DEFINITION.sub("", _TAG.sub("", text)))
    return any(sign.isalpha() for sign in unescape(text))


def language_of(article: ArticleText) -> Language:
    """The language that a text about the article is written in."""
    return "fa" if article.language == "fa" else "en"


def prose(markdown: str) -> str:
    """The running text: code blocks, headings' marks, links' targets and emphasis removed; paragraphs kept."""
    text = _LINK.sub(r"\1", _FENCE.sub("", markdown))
    text = _EMPHASIS.sub(r"\2", _MARKUP.sub("", text))
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip())


def sentences(text: str) -> list[str]:
    """The sentences of a running text, in order."""
    return [s for part in text.split("\n\n") for s in map(str.strip, _SENTENCE_END.split(part)) if s]
