"""Looking through ids and their records in bounded steps: for filters that no index answers.

Each step goes on after the last entry of the one before, by score and id, not after so many: what comes or goes
meanwhile makes it neither leave out nor repeat anything else. An entry that moves (a lease that is renewed, a job that
fails anew) may be seen at both places.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from teknav_ops.jobs.paging import Cursor, Window
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import Call, ListedEntry, ListedPart, ScriptRunner

#: Entries per round trip, and how much text one may bring before they get fewer.
_STEPS: Final = (250, 1_000)
_TEXT_LIMIT_CHARACTERS: Final = 2_000_000


@dataclasses.dataclass(frozen=True, slots=True)
class Source:
    """Where entries come from: `part` reads some of them, after a cursor."""

    part: Callable[[Cursor | None, int, Sequence[str]], Call[ListedPart]]

    @classmethod
    def of_set(cls, listed: str, record_family: str, window: Window, *, newest_first: bool) -> Source:
        """A sorted set's entries within a span of time."""

        def part(after: Cursor | None, count: int, fields: Sequence[str]) -> Call[ListedPart]:
            return scripts.list_after(
                listed, record_family, newest_first=newest_first, between=window.scores(),
                after=after, count=count, fields=fields,
            )  # fmt: skip

        return cls(part)

    @classmethod
    def of_waiting(cls, keys: QueueKeys) -> Source:
        """What waits, in the order of hand-out."""

        def part(after: Cursor | None, count: int, fields: Sequence[str]) -> Call[ListedPart]:
            return scripts.list_waiting(keys, after=after, count=count, fields=fields)

        return cls(part)


def scan(
    client: Client, source: Source, fields: Sequence[str], *, after: Cursor | None = None, step: int
) -> Iterator[ListedPart]:  # fmt: skip
    """The source's entries after a cursor, step by step. Without fields, `step` ids at a time and no records."""
    runner = ScriptRunner(client)
    size = _STEPS[0] if fields else step
    while True:
        part = runner.run(source.part(after, size, fields))
        yield part
        if not part.left_count:
            return
        after = Cursor.of(part.entries[-1])
        if fields:
            size = _next_size(size, part.entries)


def _next_size(size: int, entries: Sequence[ListedEntry]) -> int:
    """Small records are looked at many at a time, large ones few, so that no answer gets out of hand."""
    characters = sum(len(value) for entry in entries for value in entry.fields.values())
    smallest, largest = _STEPS
    if characters > _TEXT_LIMIT_CHARACTERS:
        return max(1, size // 4)
    return min(largest, max(smallest, size * 2)) if characters < _TEXT_LIMIT_CHARACTERS // 4 else size
