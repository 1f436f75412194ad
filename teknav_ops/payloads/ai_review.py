"""ai:review: how good an article is."""

from __future__ import annotations

from typing import Annotated

from teknav_ops.payloads.base import Payload, row_id


class ReviewArticle(Payload):
    """Measure an article, and have it reviewed against the rubric."""

    article_id: Annotated[int, row_id("Row of the Article table.")]
