"""Files to take away: JSON and CSV, written as they are read."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

#: A cell that begins so is a formula to a spreadsheet.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
#: Tells spreadsheets that the file is UTF-8: without it they garble Persian.
_BYTE_ORDER_MARK: Final = "\ufeff"
_LONGEST_CELL: Final = 32_000


def attachment_name(*parts: str) -> str:
    """A file name of safe characters."""
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(parts)).strip("-")[:100] or "export"


def safe_cell(value: Any) -> str:
    """A value as a cell that no spreadsheet takes for a formula. Longer than a cell may be is cut."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return text
    text = text.replace("\0", "")[:_LONGEST_CELL]
    return "'" + text if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def csv_chunks(columns: Iterable[str], pages: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    """A CSV file, a chunk per page of rows."""
    names = list(columns)
    yield _BYTE_ORDER_MARK + _lines([names])
    for rows in pages:
        yield _lines([safe_cell(row.get(name)) for name in names] for row in rows)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue()


def json_chunks(pages: Iterable[list[dict[str, Any]]]) -> Iterator[str]:
    """A JSON array, a chunk per page of rows, a row per line."""
    yield "["
    separator = "\n"
    for rows in pages:
        for row in rows:
            yield separator + json.dumps(row, ensure_ascii=False)
            separator = ",\n"
    yield "\n]\n"
