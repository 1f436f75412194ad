"""ai:review: how good an article is."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from teknav_ops.payloads.base import Payload


class ReviewArticle(Payload):
    """Measure an article, and have it reviewed against the rubric."""

    article_id: Annotated[int, Field(ge=1, description="Row of the Article table.")]
