"""Which fields of an article a workflow may set."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ArticleChanges(BaseModel):
    """New values of an article's fields. Only the fields that are given are changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["draft", "published", "unpublished"] = "draft"
    title: Annotated[str, Field(min_length=1, max_length=300)] = "-"
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=60)]], Field(max_length=30)] = []
    seo_title: Annotated[str, Field(max_length=200)] | None = None
    meta_description: Annotated[str, Field(max_length=400)] | None = None
    keywords: Annotated[list[Annotated[str, Field(min_length=1, max_length=60)]], Field(max_length=30)] | None = None
    review_status: Annotated[str, Field(max_length=20)] | None = None
