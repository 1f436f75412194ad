"""A count that grows on the terminal while something long runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from rich.progress import Progress, TextColumn

from teknav_ops.cli import show


@contextlib.contextmanager
def counting(what: str, *, is_silent: bool) -> Iterator[Callable[[int], None]]:
    """Shows how many there are so far; call what it gives with the number. Nothing where nobody looks."""
    columns = TextColumn(f"{{task.completed:,.0f}} {what}")
    disable = is_silent or not show.errors.is_terminal
    with Progress(columns, console=show.errors, transient=True, disable=disable) as progress:
        task = progress.add_task(what, total=None)
        yield lambda count: progress.update(task, completed=count)
