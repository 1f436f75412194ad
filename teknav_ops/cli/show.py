"""How answers look: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from teknav_ops.jobs.paging import Page
from teknav_ops.one_line import for_terminal

#: A last column that has less room than this stands below its row.
_LEAST_WIDTH: Final = 24


class Terminal(Console):
    """A console that obeys what this program draws, and nothing that stands in the texts it shows."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What is drawn, with signs that a terminal would obey written out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(for_terminal(segment.text), segment.style)


console = Terminal()
errors = Terminal(stderr=True)


def as_json(value: Any) -> None:
    """Print a value as JSON, Persian text as it is."""
    write_json(plain(value), indent=2)


def write_json(value: Any, *, indent: int | None = None) -> None:
    """Print plain data as JSON, without an indent on one line, at once."""
    sys.stdout.write(for_terminal(json.dumps(value, ensure_ascii=False, indent=indent)) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """The value as JSON types."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return value.isoformat() if isinstance(value, datetime) else value


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print rows, numbers to the right; or say what to do when there are none. No value is ever cut, so that what is
    an id can be copied: what has no room beside the others stands below its row.
    """
    if not rows:
        console.print(Text(empty, style="dim"))
        return
    texts = [[cell(value) for value in row] for row in rows]
    is_numeric = [all(isinstance(value, int | float | None) for value in column) for column in zip(*rows, strict=True)]
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    longest_word = max(cell_len(word) for row in texts for word in (row[-1].split() or [""]))
    left = console.width - sum(widths[:-1]) - min(widths[-1], max(_LEAST_WIDTH, longest_word))
    if left < len(columns) - 1:
        _stacked(columns, texts, widths, is_numeric)
        return
    grid = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=left < 2 * (len(columns) - 1))
    for index, name in enumerate(columns):
        is_last = index == len(columns) - 1
        grid.add_column(name, justify="right" if is_numeric[index] else "left", no_wrap=not is_last, overflow="fold")
    for row in texts:
        # Text, not markup: error messages and payloads may hold square brackets.
        grid.add_row(*(Text(text) for text in row))
    console.print(grid)


def _stacked(
    columns: Sequence[str], texts: Sequence[Sequence[str]], widths: Sequence[int], is_numeric: Sequence[bool]
) -> None:
    """As many columns as fit beside each other, and what is left of a row below it."""
    kept = 1
    while kept < len(columns) - 1 and sum(widths[: kept + 1]) + kept <= console.width:
        kept += 1
    for number, row in enumerate([columns, *texts]):
        cells = list(map(_padded, row[:kept], widths, is_numeric))
        console.print(Text(" ".join(cells).rstrip(), style="" if number else "bold"), soft_wrap=True)
        rest = [f"{name}: {text}" for name, text in zip(columns[kept:], row[kept:], strict=True) if text != "-"]
        if number and rest:
            console.print(Padding(Text(" · ".join(rest), style="dim"), (0, 0, 0, 2)))


def _padded(text: str, width: int, is_numeric: bool) -> str:
    room = " " * (width - cell_len(text))
    return room + text if is_numeric else text + room


def total(page: Page[Any]) -> str:
    """How many a filter matches, in words."""
    return f"{page.total_count:,} in all" if page.is_counted else f"at most {page.total_count:,} in all"


def more(page: Page[Any]) -> None:
    """How many there are, and how to see the next page; nothing where all are shown."""
    if page.next_cursor is not None:
        text = f"{total(page)}; go on with --cursor {shlex.quote(page.next_cursor)}"
        console.print(text, style="dim", markup=False, highlight=False, soft_wrap=True)


def cell(value: Any) -> str:
    """One value for a table."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.1f}"
    if isinstance(value, int):
        return f"{value:,}"
    return age(value) if isinstance(value, datetime) else for_terminal(str(value))


def age(moment: datetime) -> str:
    """How long ago, or in how long, in the two largest units."""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    text = span(abs(seconds))
    return f"in {text}" if seconds < 0 else f"{text} ago"


def span(seconds: float) -> str:
    """So many seconds in the two largest units."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3_600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 86_400:
        return f"{seconds // 3_600:.0f} h {seconds % 3_600 // 60:.0f} min"
    return f"{seconds // 86_400:.0f} d {seconds % 86_400 // 3_600:.0f} h"
