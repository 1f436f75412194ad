"""Pages of jobs and dead letters, read on the server in bounded steps."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from redis.exceptions import ResponseError

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain
from teknav_ops.redis_state.connection import Client, is_cluster

Item = TypeVar("Item")

#: What is read where a key holds something else than a hash: no record, but something to be shown.
NO_HASH: Final[Mapping[str, str]] = {"damage": "its key holds no hash"}
#: Records read per round trip.
STEP: Final = 500
PAGE_LIMIT: Final = 1_000
OFFSET_LIMIT: Final = 1_000_000_000
#: How long a page looks for what a filter wants; then it says how far it came.
LOOKING_SECONDS: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and where to go on: `next_offset` is None at the end.

    A page may be short and still have a `next_offset`: looking is bounded in time, and went as far as that.
    `total_count` is how many match where `is_counted`; else how many there are before each is looked at.
    """

    items: list[Item]
    next_offset: int | None
    total_count: int
    is_counted: bool = True

    @property
    def matching_count(self) -> int | None:
        """How many match; None where that was not counted."""
        return self.total_count if self.is_counted else None


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
    plain.whole_number(offset, "offset", 0, OFFSET_LIMIT)
    plain.whole_number(limit, "limit", 1, PAGE_LIMIT)


def check_texts(**texts: str | None) -> None:
    """Raises InvalidRequest that names the filter whose text is none, or can be stored nowhere."""
    for name, text in texts.items():
        problem = "must be text" if not isinstance(text, str) else plain.text_problem(text)
        if text is not None and problem:
            raise InvalidRequest(f"{name}: {problem}")


def fill_page(
    steps: Iterator[list[tuple[str, Mapping[str, str]]]],
    matches: Callable[[Mapping[str, str]], bool],
    load: Callable[[list[str]], list[Item | None]],
    *,
    offset: int,
    limit: int,
    total: int,
    is_settled: bool,
    looking_seconds: float = LOOKING_SECONDS,
) -> Page[Item]:
    """Load items until the page is full.

    `matches` looks at what the filter needs and no more; only what passes is loaded whole. `load` answers None for what
    cannot be read. After `looking_seconds` the page ends where it is, if any are left: a hundred thousand entries
    cannot be looked through at once without keeping everybody waiting. `is_settled`: all of the `total` match; where
    they do not, a page that holds everything has counted them.
    """
    begins_at_first = offset == 0
    items: list[Item] = []
    deadline, is_late = time.monotonic() + looking_seconds, False
    for entries in steps:
        if is_late:  # More have come since they were counted.
            return Page(items, offset, total, is_settled)
        position = 0
        while position < len(entries):
            wanted: list[str] = []
            while position < len(entries) and len(wanted) < limit - len(items):
                entry_id, row = entries[position]
                if matches(row):
                    wanted.append(entry_id)
                position += 1
            items += [item for item in load(wanted) if item is not None]
            if len(items) == limit:
                return Page(items, offset + position, total, is_settled)
        offset += len(entries)
        is_late = time.monotonic() > deadline
        if is_late and offset < total:
            return Page(items, offset, total, is_settled)
    if begins_at_first and not is_settled:
        return Page(items, None, len(items))
    return Page(items, None, total, is_settled)


def read_hashes(client: Client, keys: Sequence[str]) -> list[dict[str, str]]:
    """Many hashes in one round trip (one each on a Cluster); what is no hash reads as `NO_HASH`."""
    if is_cluster(client):
        return [_read_hash(client, key) for key in keys]
    pipeline = client.pipeline(transaction=False)
    for key in keys:
        pipeline.hgetall(key)
    answers = pipeline.execute(raise_on_error=False)
    return [answer if isinstance(answer, dict) else dict(NO_HASH) for answer in answers]


def _read_hash(client: Client, key: str) -> dict[str, str]:
    try:
        return client.hgetall(key)
    except ResponseError:
        return dict(NO_HASH)


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
