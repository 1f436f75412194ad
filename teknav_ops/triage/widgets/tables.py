"""HTML that widgets show. All text is escaped: errors and payloads are other people's."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from teknav_ops.one_line import with_seen_overrides


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, empty: str) -> str:
    """A table with columns of numbers to the right, or a sentence where there are no rows."""
    texts = [[str(cell) for cell in row] for row in rows]
    if not texts:
        return f"<p>{escape(empty)}</p>"
    sides = ["right" if _are_numbers(column) else "start" for column in zip(*texts, strict=True)]
    head = "".join(
        f"<th style='text-align:{side};padding:2px 10px'>{escape(name)}</th>"
        for name, side in zip(columns, sides, strict=True)
    )
    lines = "".join(f"<tr>{''.join(map(_cell, row, sides))}</tr>" for row in texts)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _are_numbers(texts: Iterable[str]) -> bool:
    known = [text for text in texts if text not in ("", "–")]
    return bool(known) and all(text.replace(",", "").replace(".", "").isdecimal() for text in known)


def _cell(text: str, side: str) -> str:
    return f"<td dir='auto' style='padding:2px 10px;text-align:{side}'>{_shown(text)}</td>"


def line(words: str, *, is_wrong: bool) -> str:
    """A status line; an error says so in words too, not by colour alone."""
    colour, mark = ("#b3261e", "Error: ") if is_wrong else ("#1f2933", "")
    return f"<div role='status' style='color:{colour}'><b>{mark}</b>{_shown(words)}</div>"


def block(text: str) -> str:
    """Text as it is, in a box that scrolls."""
    if not text:
        return ""
    return f"<pre style='max-height:320px;overflow:auto;line-height:1.35'>{_shown(text)}</pre>"


def _shown(text: str) -> str:
    return escape(with_seen_overrides(text))
