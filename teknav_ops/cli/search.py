"""`teknav search`: what readers would find."""

from __future__ import annotations

from typing import Annotated

import typer

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.cli.options import JsonOption, LimitOption
from teknav_ops.storage.search import search as search_articles


def search(
    query: Annotated[str, typer.Argument(help="Words to find; the last may be a beginning.")],
    language: Annotated[str | None, typer.Option(help="fa or en.")] = None,
    limit: LimitOption = 10,
    json_output: JsonOption = False,
) -> None:
    """Search the articles as readers do."""
    hits = search_articles(Context().database, query, language=language, limit=limit)
    if json_output:
        show.as_json(hits)
        return
    show.table(
        ("article", "lang", "title", "where"),
        [(hit.article_id, hit.language, hit.title, hit.snippet) for hit in hits],
        empty="Nothing found. Are the articles indexed? See `teknav jobs list search:index --state completed`.",
    )
