"""Pages of jobs and dead letters, read on the server in bounded steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from teknav_ops.errors import InvalidRequest
from teknav_ops.redis_state.connection import Client, is_cluster

Item = TypeVar("Item")

#: Ids looked at per round trip while a filter is applied.
STEP: Final = 500
PAGE_LIMIT: Final = 1_000
OFFSET_LIMIT: Final = 1_000_000_000
#: How long a page looks for what a filter wants; then it says how far it came.
LOOKING_SECONDS: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and where to go on: `next_offset` is None at the end.

    A page may be short and still have a `next_offset`: looking is bounded in time, and went as far as that.
    `total_count` is how many there are before name, trace and text are looked at.
    """

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
    if not 0 <= offset <= OFFSET_LIMIT:
        raise InvalidRequest(f"offset: {offset} is not between 0 and {OFFSET_LIMIT:,}")
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidRequest(f"limit: {limit} is not between 1 and {PAGE_LIMIT}")


def zset_steps(
    client: Client, key: str, window: Window, *, newest_first: bool, offset: int, step: int = STEP
) -> Iterator[list[str]]:
    """The ids of a sorted set within a window, step by step from `offset`."""
    # By rank, not by score and offset: that would walk over everything before the offset at each step.
    first, end = _ranks(client, key, window, newest_first=newest_first)
    command, at = "ZREVRANGE" if newest_first else "ZRANGE", first + offset
    while end is None or at < end:
        last = at + step - 1 if end is None else min(at + step, end) - 1
        ids = client.execute_command(command, key, at, last)
        if not ids:
            return
        yield list(ids)
        at += len(ids)


def _ranks(client: Client, key: str, window: Window, *, newest_first: bool) -> tuple[int, int | None]:
    """The first rank within a window, and the one after its last; None for the set's end."""
    if window == Window():
        return 0, None
    low, high = window.scores()
    if newest_first:
        first = 0 if window.until is None else int(client.zcount(key, high.removeprefix("("), "+inf"))
    else:
        first = 0 if window.since is None else int(client.zcount(key, "-inf", f"({low}"))
    return first, first + int(client.zcount(key, low, high))


def list_steps(client: Client, key: str, *, offset: int, step: int = STEP) -> Iterator[list[str]]:
    """The ids of a list, step by step from `offset`."""
    while ids := client.lrange(key, offset, offset + step - 1):
        yield list(ids)
        offset += len(ids)


def fill_page(
    steps: Iterator[list[str]],
    match: Callable[[list[str]], list[bool]],
    load: Callable[[list[str]], list[Item | None]],
    *,
    offset: int,
    limit: int,
    total: int,
    looking_seconds: float = LOOKING_SECONDS,
) -> Page[Item]:
    """Load items until the page is full. `match` looks at what the filter needs and no more; only what passes
    is loaded whole. `load` answers None for what cannot be read. After `LOOKING_SECONDS` the page ends where it is:
    a hundred thousand entries cannot be looked through at once without keeping everybody waiting.
    """
    items: list[Item] = []
    deadline = time.monotonic() + looking_seconds
    for ids in steps:
        matched, position = match(ids), 0
        while position < len(ids):
            wanted: list[str] = []
            while position < len(ids) and len(wanted) < limit - len(items):
                if matched[position]:
                    wanted.append(ids[position])
                position += 1
            items += [item for item in load(wanted) if item is not None]
            if len(items) == limit:
                return Page(items, offset + position, total)
        offset += len(ids)
        if time.monotonic() > deadline:
            return Page(items, offset, total)
    return Page(items, None, total)


def read_hashes(client: Client, keys: Sequence[str]) -> list[dict[str, str]]:
    """Many hashes in one round trip (one each on a Cluster); what is no hash reads as empty."""
    if is_cluster(client):
        return [client.hgetall(key) for key in keys]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    answers = pipeline.execute(raise_on_error=False)
    return [answer if isinstance(answer, dict) else {} for answer in answers]


def read_fields(client: Client, keys: Sequence[str], fields: Sequence[str]) -> list[dict[str, str]]:
    """Some fields of many hashes, in one round trip (one each on a Cluster)."""
    if is_cluster(client):
        answers: list[Any] = [client.hmget(key, list(fields)) for key in keys]
    else:
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, list(fields))
        answers = pipeline.execute(raise_on_error=False)
    return [
        {name: value for name, value in zip(fields, answer, strict=True) if value is not None}
        if isinstance(answer, list)
        else {}
        for answer in answers
    ]
