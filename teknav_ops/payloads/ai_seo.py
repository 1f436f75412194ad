"""ai:seo: what search engines are shown."""

from __future__ import annotations

from typing import Annotated

from teknav_ops.payloads.base import Payload, row_id


class GenerateSeo(Payload):
    """Write an article's title, description and keywords for search engines."""

    article_id: Annotated[int, row_id("Row of the Article table.")]
