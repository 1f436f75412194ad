"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import typer

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.paging import PAGE_LIMIT, Window
from teknav_ops.payloads import plain
from teknav_ops.spans import parse_moment as parse_moment
from teknav_ops.spans import parse_span as parse_span

#: A person at a terminal waits for a whole page.
LOOKING_SECONDS: Final = 60.0

JsonOption = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", help="At most so many.")]
#: Where nothing behind the command looks at it.
BoundedLimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=PAGE_LIMIT, help="At most so many.")]
CursorOption = Annotated[str | None, typer.Option("--cursor", help="Go on from here (next_cursor of the last page).")]
SinceOption = Annotated[str | None, typer.Option("--since", help="From: 2026-11-24T10:00, or 30m, 6h, 2d ago.")]
UntilOption = Annotated[str | None, typer.Option("--until", help="Before: as --since.")]
QueueArgument = Annotated[str, typer.Argument(help="Name of the queue, such as media:optimize.")]
JobArgument = Annotated[str, typer.Argument(help="Id of the job.")]


def parse_window(since: str | None, until: str | None) -> Window:
    """Both ends. Relative times are resolved here, once."""
    return Window(parse_moment(since, name="--since"), parse_moment(until, name="--until"))


def parse_data(text: str) -> Any:
    """A JSON payload, or the content of a file as `@path`. Raises InvalidRequest."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text("utf-8")
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"--data: {plain.printable(text[1:])}: {plain.printable(str(error))}") from None
    return plain.parse(text, "--data")
