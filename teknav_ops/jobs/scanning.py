"""Looking through ids and their records in bounded steps: for filters that no index answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

from teknav_ops.jobs.paging import Window, read_fields
from teknav_ops.redis_state.connection import Client, is_cluster

#: Entries per round trip, and how much text one may bring before they get fewer.
_STEPS: Final = (250, 2_000)
_TEXT_LIMIT_CHARACTERS: Final = 2_000_000

#: An id, and the fields that were asked for of its record.
Entry: TypeAlias = tuple[str, Mapping[str, str]]


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where ids come from: a list, or the ranks from `first` to `end` (None: its last) of a sorted set."""

    key: str
    is_list: bool = False
    newest_first: bool = False
    first: int = 0
    end: int | None = None

    @classmethod
    def of_window(cls, client: Client, key: str, window: Window, *, newest_first: bool) -> Source:
        """A sorted set's ids within a span of time."""
        if window == Window():
            return cls(key, newest_first=newest_first)
        low, high = window.scores()
        if newest_first:
            first = 0 if window.until is None else int(client.zcount(key, high.removeprefix("("), "+inf"))
        else:
            first = 0 if window.since is None else int(client.zcount(key, "-inf", f"({low}"))
        count = int(client.zcount(key, low, high))
        return cls(key, newest_first=newest_first, first=first, end=first + count)


def scan(
    client: Client, source: Source, record_family: str, fields: Sequence[str], *, offset: int, step: int
) -> Iterator[list[Entry]]:
    """The source's entries from `offset` on, step by step. Without fields, `step` ids at a time and no records."""
    # By rank, not by score and offset: that would walk over everything before the offset at each step.
    at = source.first + offset
    size = _STEPS[0] if fields else step
    while source.end is None or at < source.end:
        count = size if source.end is None else min(size, source.end - at)
        entries = _read(client, source, record_family, fields, at, count)
        if not entries:
            return
        yield entries
        at += len(entries)
        if fields:
            size = _next_size(size, entries)


def _next_size(size: int, entries: list[Entry]) -> int:
    """Small records are looked at many at a time, large ones few, so that no answer gets out of hand."""
    characters = sum(len(value) for _, row in entries for value in row.values())
    smallest, largest = _STEPS
    if characters > _TEXT_LIMIT_CHARACTERS:
        return max(1, size // 4)
    return min(largest, max(smallest, size * 2)) if characters < _TEXT_LIMIT_CHARACTERS // 4 else size


def _read(
    client: Client, source: Source, record_family: str, fields: Sequence[str], at: int, count: int
) -> list[Entry]:  # fmt: skip
    if fields and not is_cluster(client):
        return _read_sorted(client, source, record_family, fields, at, count)
    command = "LRANGE" if source.is_list else "ZREVRANGE" if source.newest_first else "ZRANGE"
    ids: list[str] = client.execute_command(command, source.key, at, at + count - 1)
    if not fields:
        return [(entry_id, {}) for entry_id in ids]
    return list(zip(ids, read_fields(client, [record_family + entry_id for entry_id in ids], fields), strict=True))


def _read_sorted(
    client: Client, source: Source, record_family: str, fields: Sequence[str], at: int, count: int
) -> list[Entry]:  # fmt: skip
    # SORT that does not sort: one command brings ids and fields, several times as fast as a command per record.
    command: list[Any] = ["SORT", source.key, "BY", "nosort", "LIMIT", at, count, "GET", "#"]
    for name in fields:
        command += ["GET", f"{record_family}*->{name}"]
    if source.newest_first:
        command.append("DESC")
    flat: list[Any] = client.execute_command(*command)
    width = len(fields) + 1
    rows = (flat[start : start + width] for start in range(0, len(flat), width))
    return [
        (row[0], {name: value for name, value in zip(fields, row[1:], strict=True) if value is not None})
        for row in rows
    ]  # fmt: skip
