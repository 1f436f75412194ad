"""`teknav reindex`: every article into the search index anew, behind all other work."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from teknav_ops.cli import show
from teknav_ops.cli.context import Context
from teknav_ops.runtime import reindexing

_POLL_SECONDS: Final = 0.5


def reindex(
    wait: Annotated[bool, typer.Option(help="Show how it goes; Ctrl-C leaves the jobs to the workers.")] = True,
) -> None:  # fmt: skip
    """Index every article anew, behind all other work."""
    context = Context()
    count = reindexing.begin(context.database, context.producer)
    show.console.print(f"{count:,} articles enqueued on {reindexing.QUEUE}")
    if wait and count:
        _follow(context, count)


def _follow(context: Context, count: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=show.console) as bar:
        task = bar.add_task("indexed", total=count)
        for done in reindexing.progress(context.jobs, count, poll_seconds=_POLL_SECONDS):
            bar.update(task, completed=done)
