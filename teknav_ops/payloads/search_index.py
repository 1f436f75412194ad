"""search:index: what readers can find."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from teknav_ops.payloads.base import LARGEST_ROW_ID, Payload, row_id


class IndexArticle(Payload):
    """Bring an article and its translations into the search index, or take it out when unpublished."""

    article_id: Annotated[int, row_id("Row of the Article table.")]
    version: Annotated[
        int | None,
        Field(ge=1, le=LARGEST_ROW_ID, description="Article version that must be readable; none means the newest."),
    ] = None
