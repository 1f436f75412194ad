"""`teknav reindex`: every article into the search index anew, behind all other work."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import select

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.storage.tables import Article

_QUEUE: Final = "search:index"
#: What readers wait for goes first.
_LAST: Final = 9
_POLL_SECONDS: Final = 0.5


def reindex(
    wait: Annotated[bool, typer.Option(help="Show how it goes; Ctrl-C leaves the jobs to the workers.")] = True,
) -> None:  # fmt: skip
    """Index every article anew, behind all other work."""
    context = Context()
    with context.database.reading() as session:
        ids = list(session.scalars(select(Article.id).order_by(Article.id)))
    items = [{"article_id": article_id} for article_id in ids]
    jobs = context.producer.enqueue_many(_QUEUE, "index-article", items, priority=_LAST)
    show.console.print(f"{len(jobs):,} articles enqueued on {_QUEUE}")
    if wait and jobs:
        _follow(context, len(jobs))


def _follow(context: Context, count: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=show.console) as progress:
        task = progress.add_task("indexed", total=count)
        while True:
            now = context.jobs.counts(_QUEUE)
            left = min(count, now.waiting + now.active + now.delayed)
            progress.update(task, completed=count - left)
            if left == 0:
                return
            time.sleep(_POLL_SECONDS)
