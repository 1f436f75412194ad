"""Pages of jobs and dead letters, read on the server in bounded steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final, Generic, TypeVar

from teknav_ops.errors import InvalidRequest
from teknav_ops.redis_state.connection import Client

Item = TypeVar("Item")

#: Ids looked at per round trip while a filter is applied.
STEP: Final = 500
PAGE_LIMIT: Final = 1_000


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and where to go on: `next_offset` is None at the end."""

    items: list[Item]
    next_offset: int | None
    total_count: int


@dataclasses.dataclass(frozen=True, slots=True)
class Window:
    """A span of time; open ends are None."""

    since: datetime | None = None
    until: datetime | None = None

    def scores(self) -> tuple[str, str]:
        """The span as scores in ms: from (inclusive) and to (exclusive)."""
        since = "-inf" if self.since is None else str(round(self.since.timestamp() * 1000))
        until = "+inf" if self.until is None else f"({round(self.until.timestamp() * 1000)}"
        return since, until


def check_page(offset: int, limit: int) -> None:
    """Raises InvalidRequest when a page is not one that can be read."""
    if offset < 0:
        raise InvalidRequest(f"offset: {offset} is negative")
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidRequest(f"limit: {limit} is not between 1 and {PAGE_LIMIT}")


def zset_steps(client: Client, key: str, window: Window, *, newest_first: bool, offset: int) -> Iterator[list[str]]:
    """The ids of a sorted set within a window, step by step from `offset`."""
    low, high = window.scores()
    while True:
        if newest_first:
            ids = client.zrevrangebyscore(key, high, low, start=offset, num=STEP)
        else:
            ids = client.zrangebyscore(key, low, high, start=offset, num=STEP)
        if not ids:
            return
        yield list(ids)
        offset += len(ids)


def list_steps(client: Client, key: str, *, offset: int) -> Iterator[list[str]]:
    """The ids of a list, step by step from `offset`."""
    while ids := client.lrange(key, offset, offset + STEP - 1):
        yield list(ids)
        offset += len(ids)


def fill_page(
    steps: Iterator[list[str]],
    read: Callable[[list[str]], list[Item | None]],
    *,
    offset: int,
    limit: int,
    total: int,
) -> Page[Item]:
    """Read items until the page is full; `read` answers None for ids that the filter leaves out."""
    items: list[Item] = []
    for ids in steps:
        for item in read(ids):
            offset += 1
            if item is not None:
                items.append(item)
                if len(items) == limit:
                    return Page(items, offset, total)
    return Page(items, None, total)
