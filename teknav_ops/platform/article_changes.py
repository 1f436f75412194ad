"""What a workflow may set of an article."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ArticleChanges(BaseModel):
    """Fields of Article; those that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["draft", "published", "unpublished"] | None = None
    title: Annotated[str, Field(min_length=1, max_length=300)] | None = None
    body: Annotated[str, Field(min_length=1, max_length=1_000_000)] | None = None
    tags: Annotated[list[Annotated[str, Field(min_length=1, max_length=80)]], Field(max_length=50)] | None = None
    seo_title: Annotated[str, Field(max_length=200)] | None = None
    meta_description: Annotated[str, Field(max_length=400)] | None = None
    review_status: Annotated[str, Field(max_length=20)] | None = None
