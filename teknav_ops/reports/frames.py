"""Frames that are no tables to look at: CSV, JSON and programs' literals, charts' tables. What a secret's name heads is
masked.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any, Final

from teknav_ops.payloads.codec import MASK
from teknav_ops.reports.columns import is_secret_name

_DELIMITERS: Final = (",", ";", "\t")
#: A heading is a name: a longer text, or one of more words, is prose.
_HEADING_CHARACTERS, _HEADING_WORDS = 40, 3
#: Literals of programs are read up to here: they take much more memory than text.
_LITERAL_CHARACTERS: Final = 1_000_000
_NAMES: Final = ("columns", "fields", "header", "headers")
_ROWS: Final = ("data", "rows", "values")

Masked = Callable[[Any], Any]


def mask_columns(value: dict[str, Any]) -> dict[str, Any]:
    """JSON that names columns beside their rows, as `orient="split"` does, or lists column after column, as Plotly's
    tables do.
    """
    if _is_chart_table(value):
        secret = _secret_places(value["header"]["values"])
        columns = [_hidden(column) if at in secret else column for at, column in enumerate(value["cells"]["values"])]
        return value | {"cells": value["cells"] | {"values": columns}}
    names: list[Any] = next((value[name] for name in _NAMES if isinstance(value.get(name), list)), [])
    secret = _secret_places(names)
    if not secret:
        return value
    return value | {name: _masked_rows(value[name], secret) for name in _ROWS if isinstance(value.get(name), list)}


def mask_text_data(text: str, masked: Masked) -> str:
    """A text that is CSV, or that is or holds lines of JSON or a program's literal; `masked` masks what these hold."""
    whole = _masked_literal(text, masked)
    if whole != text:
        return whole
    return _masked_records("\n".join(_masked_literal(line, masked) for line in text.split("\n")))


def _is_chart_table(value: dict[str, Any]) -> bool:
    parts = [value.get(name) for name in ("header", "cells")]
    return all(isinstance(part, dict) and isinstance(part.get("values"), list) for part in parts)


def _secret_places(names: list[Any]) -> set[int]:
    return {at for at, name in enumerate(names) if any(map(is_secret_name, _words_of(name)))}


def _words_of(name: Any) -> Iterator[str]:
    """A column's name, or the names of its levels."""
    if isinstance(name, list | tuple):
        for each in name:
            yield from _words_of(each)
    elif isinstance(name, dict):
        yield from _words_of(name.get("name"))
    elif isinstance(name, str):
        yield name.replace("<b>", "").replace("</b>", "").strip()


def _masked_rows(rows: list[Any], places: Collection[int]) -> list[Any]:
    return [
        type(row)(_hidden(cell) if at in places else cell for at, cell in enumerate(row))
        if isinstance(row, list | tuple)
        else row
        for row in rows
    ]


def _hidden(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_hidden(each) for each in value]
    return MASK if value is not None and value != "" else value


def _masked_literal(text: str, masked: Masked) -> str:
    if not text.lstrip().startswith(("{", "[", "(")) or not text.rstrip().endswith(("}", "]", ")")):
        return text
    for read, written in ((json.loads, _as_json), (ast.literal_eval, repr)):
        if read is ast.literal_eval and len(text) > _LITERAL_CHARACTERS:
            break
        try:
            found = read(text.strip())
            shown = masked(found)
            return text if shown == found else written(shown)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _masked_records(text: str) -> str:
    """CSV, with the delimiters that programs use; a blank line, or a row of another width, ends it."""
    lines, delimiter, secret, width = [], "", set[int](), 0
    for record in _records(text):
        cells = _cells(record, delimiter) if secret else []
        if len(cells) == width and secret and record.strip():
            lines.append(delimiter.join(_masked_cell(cell) if at in secret else cell for at, cell in enumerate(cells)))
            continue
        delimiter, secret, width = _heading(record)
        lines.append(record)
    return "\n".join(lines)


def _records(text: str) -> Iterator[str]:
    """Lines, those together that one quoted cell reaches over."""
    pending: list[str] = []
    for line in text.split("\n"):
        is_odd = line.count('"') % 2 == 1
        if pending:
            pending.append(line)
            if is_odd:
                yield "\n".join(pending)
                pending = []
        elif is_odd and any(mark in line for mark in _DELIMITERS):
            pending = [line]
        else:
            yield line
    # A quotation mark that nobody closed: lines as they are.
    yield from pending


def _heading(line: str) -> tuple[str, set[int], int]:
    """The delimiter, the places of secrets' names and the width, of a line that heads records; else nothing."""
    for delimiter in _DELIMITERS:
        names = [cell.strip().strip('"') for cell in _cells(line, delimiter)]
        if len(names) < 2 or not all(_is_heading(name) for name in names):
            continue
        secret = {at for at, name in enumerate(names) if name and is_secret_name(name)}
        if secret:
            return delimiter, secret, len(names)
    return "", set(), 0


def _is_heading(name: str) -> bool:
    return len(name) <= _HEADING_CHARACTERS and len(name.split()) <= _HEADING_WORDS


def _cells(record: str, delimiter: str) -> list[str]:
    if '"' not in record:
        return record.split(delimiter)
    cells = [""]
    for at, part in enumerate(record.split('"')):
        # Every other part stands between quotation marks.
        pieces = [part] if at % 2 else part.split(delimiter)
        cells[-1] += ('"' if at else "") + pieces[0]
        cells += pieces[1:]
    return cells


def _masked_cell(cell: str) -> str:
    value = cell.strip().strip('"')
    return cell.replace(value, MASK) if value else cell
