"""ai:content: texts for editors, written by a language model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from teknav_ops.payloads.base import Payload, row_id

Language = Literal["fa", "en"]
ArticleId = Annotated[int, row_id("Row of the Article table.")]


class GenerateDraft(Payload):
    """Write the draft of an article on a topic."""

    topic: Annotated[str, Field(min_length=3, max_length=500)]
    language: Language = "fa"
    key_points: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=500)], ...],
        Field(max_length=20, description="What the draft must cover."),
    ] = ()
    word_count: Annotated[int, Field(ge=100, le=3_000, description="Rough length of the draft.")] = 800


class GenerateSummary(Payload):
    """Sum an article up in a few sentences."""

    article_id: ArticleId
    sentence_count: Annotated[int, Field(ge=1, le=10)] = 3


class Translate(Payload):
    """Translate an article into the other language."""

    article_id: ArticleId
    language: Annotated[Language, Field(description="Language to translate into.")]


class EnhanceContent(Payload):
    """Propose a better version of an article."""

    article_id: ArticleId
    goals: Annotated[
        tuple[Literal["clarity", "grammar", "structure", "brevity"], ...],
        Field(min_length=1, max_length=4, description="What to improve."),
    ] = ("clarity", "grammar")
