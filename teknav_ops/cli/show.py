"""How answers look: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import BaseModel
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from teknav_ops.jobs.paging import Page
from teknav_ops.one_line import with_seen_overrides

#: A last column that has less room than this stands below its row.
_LEAST_WIDTH: Final = 24

console = Console()
errors = Console(stderr=True)


def as_json(value: Any) -> None:
    """Print a value as JSON, Persian text as it is."""
    sys.stdout.write(with_seen_overrides(json.dumps(plain(value), ensure_ascii=False, indent=2)) + "\n")


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
    """Print rows, numbers to the right; or say what to do when there are none."""
    if not rows:
        console.print(Text(empty, style="dim"))
        return
    texts = [[cell(value) for value in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    left = console.width - sum(widths[:-1]) - min(widths[-1], _LEAST_WIDTH)
    if left < len(columns) - 1:
        _stacked(columns, rows, texts)
        return
    grid = Table(box=None, header_style="bold", pad_edge=False, collapse_padding=left < 2 * (len(columns) - 1))
    for index, name in enumerate(columns):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        is_last = index == len(columns) - 1
        grid.add_column(name, justify="right" if numeric else "left", no_wrap=not is_last, overflow="fold")
    for row in rows:
        # Text, not markup: error messages and payloads may hold square brackets.
        grid.add_row(*(Text(cell(value)) for value in row))
    console.print(grid)


def _stacked(columns: Sequence[str], rows: Sequence[Sequence[Any]], texts: list[list[str]]) -> None:
    """Where the terminal is too narrow for all columns, the last one stands below its row, and the others close up."""
    grid = Table(box=None, show_header=False, pad_edge=False, collapse_padding=True)
    last = len(columns) - 1
    for index in range(last):
        numeric = all(isinstance(row[index], int | float | None) for row in rows)
        grid.add_column(justify="right" if numeric else "left", no_wrap=True)
    grid.add_row(*(Text(name, style="bold") for name in columns[:last]))
    for row in texts:
        grid.add_row(*(Text(text) for text in row[:last]))
    head, *lines = _lines(grid)
    console.print(head)
    for line, row in zip(lines, texts, strict=True):
        console.print(line)
        if row[last] != "-":
            console.print(Padding(Text(f"{columns[last]}: {row[last]}", style="dim"), (0, 0, 0, 2)))


def _lines(grid: Table) -> list[Text]:
    with console.capture() as drawn:
        console.print(grid, no_wrap=True)
    return list(Text.from_ansi(drawn.get()).split("\n"))


def total(page: Page[Any]) -> str:
    """How many a filter matches, in words."""
    return f"{page.total_count:,} in all" if page.is_counted else f"at most {page.total_count:,} in all"


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
    return age(value) if isinstance(value, datetime) else with_seen_overrides(str(value))


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
