"""HTML that widgets show. All text is escaped: errors and payloads are other people's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> str:
    """A table, or a sentence where there are no rows."""
    lines = [
        "".join(f"<td dir='auto' style='padding:2px 10px;text-align:start'>{escape(str(cell))}</td>" for cell in row)
        for row in rows
    ]
    if not lines:
        return f"<p>{escape(empty)}</p>"
    head = "".join(f"<th style='text-align:left;padding:2px 10px'>{escape(name)}</th>" for name in columns)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def line(words: str, *, is_wrong: bool) -> str:
    """A status line; an error says so in words too, not by colour alone."""
    colour, mark = ("#b3261e", "Error: ") if is_wrong else ("#1f2933", "")
    return f"<div role='status' style='color:{colour}'><b>{mark}</b>{escape(words)}</div>"


def block(text: str) -> str:
    """Text as it is, in a box that scrolls."""
    if not text:
        return ""
    return f"<pre style='max-height:320px;overflow:auto;line-height:1.35'>{escape(text)}</pre>"
