"""Tables as they may leave: what stands below, or beside, a secret's name is masked, whatever it looks like."""

from __future__ import annotations

import functools
import re
from html import unescape
from typing import Final

from teknav_ops.payloads.codec import MASK
from teknav_ops.payloads.redaction import redact

# What has no end goes as far as the next of its kind, or to the last character, as in a browser.
_TABLE: Final = re.compile(
    r"<table\b[^>]*>(?:(?!<table\b).)*?(?:</table\s*>|(?=<table\b)|\Z)", re.DOTALL | re.IGNORECASE
)
_ROW: Final = re.compile(r"(?=<tr\b)", re.IGNORECASE)
_CELL: Final = re.compile(
    r"(<t([hd])\b[^>]*>)(.*?)(?=<t[hd]\b|</t(?:[hdr]|head|body|foot|able)\b|\Z)", re.DOTALL | re.IGNORECASE
)
_SPAN: Final = re.compile(r"\bcolspan\s{0,9}=\s{0,9}[\"']?(\d{1,3})", re.IGNORECASE)
_TERM: Final = re.compile(
    r"(<dt\b[^>]*>(?:(?!<d[td]\b).)*?<dd\b[^>]*>)(.*?)(?=</dd\b|<d[td]\b|</dl\b|\Z)", re.DOTALL | re.IGNORECASE
)
_BREAK: Final = re.compile(r"<(?:br|div|li|p)\b[^>]*>", re.IGNORECASE)
_TAG: Final = re.compile(r"<[^>]*>")
#: What stands in a column of a text: words with one blank between them.
_WORDS: Final = re.compile(r"[^\s|│]+(?: [^\s|│]+)*")
#: What pandas prints below a column that stands alone.
_BELOW_SERIES: Final = re.compile(r"(?:Freq: \S{1,20}, )?Name: (.{1,200}?), (?:Length: \d+, )?dtype: \S+")
_LINE: Final = re.compile(r"[\s|│:+\-=─━┼┿╇┃]*")
_NAME_LIMIT_CHARACTERS: Final = 100


@functools.lru_cache(maxsize=1_000)
def is_secret_name(name: str) -> bool:
    """Whether a value of this name is a secret."""
    assigned = f'{name[-_NAME_LIMIT_CHARACTERS:]}="x"'
    return redact(assigned) != assigned


def mask_html_tables(markup: str) -> str:
    """Values in columns and rows of tables, and in lists of terms, that are headed by a secret's name."""
    markup = _TABLE.sub(lambda found: _masked_table(found[0]), markup)
    return _TERM.sub(lambda found: found[1] + _masked_cell(found[2], is_secret=_names_a_secret(found[1])), markup)


def mask_text_tables(text: str) -> str:
    """The same for tables that are printed, as DataFrames, the command line's, and Markdown's."""
    lines, columns, is_first = list[str](), list[tuple[int, int]](), True
    for line in text.split("\n"):
        words = list(_WORDS.finditer(line))
        is_row = len(words) > 1 and is_secret_name(words[0][0])
        if not line.strip():
            columns, is_first = [], True
        elif (found := _BELOW_SERIES.fullmatch(line)) and is_secret_name(found[1]):
            _mask_series(lines)
        elif not _LINE.fullmatch(line):
            secret = words[1:] if is_row else [word for word in words if _is_below(word, columns)]
            lines.append(_masked_line(line, secret))
            # What heads a row stands below what heads the table.
            if not columns and (is_first or not is_row):
                columns = _secret_columns(line, words)
            is_first = False
            continue
        lines.append(line)
    return "\n".join(lines)


def _mask_series(lines: list[str]) -> None:
    """The last word of each line, up to a blank one."""
    for at in range(len(lines) - 1, -1, -1):
        words = list(_WORDS.finditer(lines[at]))
        if not words:
            break
        lines[at] = _masked_line(lines[at], words[-1:])


def _masked_table(table: str) -> str:
    rows = _ROW.split(table)
    columns, width = set[int](), 0
    for at, row in enumerate(rows[1:], 1):
        cells = list(_CELL.finditer(row))
        is_head = at == 1 or all(cell[2] in "hH" for cell in cells)
        if is_head:
            names = [name for cell in cells for name in [_read(cell[3])] * _span(cell[1])]
            columns |= {place for place, name in enumerate(names) if is_secret_name(name)}
            width = max(width, len(names))
        rows[at] = _masked_row(row, cells, set() if is_head else columns, width)
    return "".join(rows)


def _masked_row(row: str, cells: list[re.Match[str]], columns: set[int], width: int) -> str:
    # A cell that a row above shares with this one stands before the others.
    place = max(0, width - sum(_span(cell[1]) for cell in cells))
    parts, end, is_of_secret = [], 0, False
    for cell in cells:
        is_value = cell[2] in "dD"
        is_masked = is_value and (is_of_secret or place in columns)
        parts += [row[end : cell.start(3)], _masked_cell(cell[3], is_secret=is_masked)]
        is_of_secret = is_of_secret or is_secret_name(_read(cell[3]))
        place, end = place + _span(cell[1]), cell.end(3)
    return "".join((*parts, row[end:]))


def _span(tag: str) -> int:
    found = _SPAN.search(tag)
    return max(1, int(found[1])) if found else 1


def _read(markup: str) -> str:
    return " ".join(unescape(_TAG.sub("", _BREAK.sub(" ", markup))).split())


def _names_a_secret(markup: str) -> bool:
    return is_secret_name(_read(markup))


def _masked_cell(markup: str, *, is_secret: bool) -> str:
    return MASK if is_secret and _read(markup) else markup


def _secret_columns(line: str, words: list[re.Match[str]]) -> list[tuple[int, int]]:
    """From where to where secrets' names stand in a line that heads a table; a sentence heads none. An index's name
    stands alone, with blanks behind it.
    """
    if len(words) < 2 and line[0] not in " |│" and not line.endswith("  "):
        return []
    return [word.span() for word in words if word[0].count(" ") < 2 and is_secret_name(word[0])]


def _is_below(word: re.Match[str], columns: list[tuple[int, int]]) -> bool:
    return any(word.start() < end and start < word.end() for start, end in columns)


def _masked_line(line: str, words: list[re.Match[str]]) -> str:
    for word in reversed(words):
        line = line[: word.start()] + MASK + line[word.end() :]
    return line
