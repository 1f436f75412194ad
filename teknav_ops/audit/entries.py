"""Entries of audit streams as rows of AuditLog: text as it came, times from the entries' ids."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, Final, TypeAlias

from teknav_ops.redis_state.streams import Entry

#: The columns of a row, in its order. The last may hold any text, and is JSON.
COLUMNS: Final = (
    "queue", "stream_id", "at",
    "action", "actor", "job_id", "job_name", "error_type", "fingerprint", "trace_id",
    "attempt", "delivery", "duration_ms", "waited_ms", "detail",
)  # fmt: skip
#: How an operator's action stands, or ended.
OUTCOMES: Final = ("requested", "done", "refused", "failed", "interrupted")
#: The end of the year 9999: a clock that once stood beyond it must not stop the writer.
_LAST_MS: Final = 253_402_300_799_000
_FROM_ENTRY: Final = COLUMNS[3:]

#: A value for each column, all as text; what stands for nothing is the database's business.
Row: TypeAlias = tuple[Any, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive entries of one queue's stream, the first after `after_id`. `is_full`: there may be more."""

    queue: str
    after_id: str
    last_id: str
    rows: list[Row]
    is_full: bool


class RowMaker:
    """Makes rows. Entries that one line of a script writes have the same fields: where those lie is found once."""

    def __init__(self, *, zone: str, nothing: str | None) -> None:
        """`zone` is what the database wants behind a time in UTC, `nothing` what becomes NULL in it."""
        self._zone = zone
        self._nothing = nothing
        #: action -> the names seen with it last, and how their values become columns.
        self._layouts: dict[str, tuple[list[str], Callable[[list[Any]], tuple[Any, ...]]]] = {}

    def rows(self, queue: str, entries: Iterable[Entry]) -> list[Row]:
        """Entries as rows, in their order."""
        made: list[Row] = []
        layouts, nothing = self._layouts, self._nothing
        last_ms, at = "", ""
        for stream_id, fields in entries:
            names: list[str] = fields[::2]
            values: list[Any] = fields[1::2]
            layout = layouts.get(values[0])
            if layout is None or layout[0] != names:
                layout = layouts[values[0]] = (names, _picker(names))
            at_ms = stream_id.partition("-")[0]
            if at_ms != last_ms:
                last_ms, at = at_ms, _moment(at_ms) + self._zone
            if "" in values:
                values = [value or nothing for value in values]
            values.append(nothing)
            row = (queue, stream_id, at, *layout[1](values))
            made.append(row if not row[-1] else (*row[:-1], _detail(row[-1])))
        return made


def _picker(names: list[str]) -> Any:
    # A column that the entry does not carry takes the nothing that is appended to its values.
    return itemgetter(*(names.index(name) if name in names else -1 for name in _FROM_ENTRY))


def _moment(at_ms: str) -> str:
    at = datetime.fromtimestamp(min(int(at_ms), _LAST_MS) / 1000, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S.%f")


def _detail(text: str) -> str:
    # PostgreSQL holds no null characters; and scripts cut after so many bytes, which may split the last character.
    return json.dumps({"text": text.replace("\0", "�").rstrip("�")}, ensure_ascii=False)
