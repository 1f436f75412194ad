"""ai:seo: what search engines are shown."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from teknav_ops.payloads.base import Payload


class GenerateSeo(Payload):
    """Write an article's title, description and keywords for search engines."""

    article_id: Annotated[int, Field(ge=1, description="Row of the Article table.")]
