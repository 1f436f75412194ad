"""Pages of jobs and dead letters, read on the server in bounded steps."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar

from redis.exceptions import ResponseError

from teknav_ops.errors import InvalidRequest
from teknav_ops.payloads import plain
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.scripts import ListedEntry, ListedPart

Item = TypeVar("Item")

#: What is read where a key holds something else than a hash: no record, but something to be shown.
NO_HASH: Final[Mapping[str, str]] = {"damage": "its key holds no hash"}
#: Records read per round trip.
STEP: Final = 500
PAGE_LIMIT: Final = 1_000
_CURSOR: Final = re.compile(r"(-?[0-9]{1,24}(?:\.[0-9]{1,24})?(?:e[+-]?[0-9]{1,3})?)_([^\0]{1,200})")
#: How long a page looks for what a filter wants; then it says how far it came.
LOOKING_SECONDS: Final = 0.2


@dataclasses.dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """Some items, and where to go on: `next_cursor` is None at the end.

    A page may be short and still have a `next_cursor`: looking is bounded in time, and went as far as that.
    `total_count` is how many match where `is_counted`; else how many there are before each is looked at.
    `looked_at_count` is how many of those were passed when the page ended.
    """

    items: list[Item]
    next_cursor: str | None
    total_count: int
    is_counted: bool = True
    looked_at_count: int = 0

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


class Cursor(NamedTuple):
    """An entry of a list, by its score and id: the place after which to go on, also when the entry is gone."""

    score: str
    id: str

    def __str__(self) -> str:
        return f"{self.score}_{self.id}"

    @classmethod
    def of(cls, entry: ListedEntry) -> Cursor:
        """The place of an entry."""
        return cls(entry.score, entry.id)

    @classmethod
    def parse(cls, text: str | None) -> Cursor | None:
        """A cursor that a page gave; None is the beginning. Raises InvalidRequest."""
        if text is None:
            return None
        found = _CURSOR.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise no_cursor(text)
        return cls(found[1], found[2])


def no_cursor(text: object) -> InvalidRequest:
    """What is said of a text that no page gave as its cursor."""
    return InvalidRequest(f"cursor: {str(text)[:40]!r} is not one; give the next_cursor of the page before")


def check_limit(limit: int) -> None:
    """Raises InvalidRequest when a page cannot be so long."""
    plain.whole_number(limit, "limit", 1, PAGE_LIMIT)


def is_newest_first(sort: str, by: str) -> bool:
    """Whether a list is asked for by `-by`, and not by `by`. Raises InvalidRequest for anything else."""
    if sort not in (by, f"-{by}"):
        raise InvalidRequest(f"sort: {by} is first to last, -{by} last to first; not {str(sort)[:40]!r}")
    return sort.startswith("-")


def check_texts(**texts: str | None) -> None:
    """Raises InvalidRequest that names the filter whose text is none, or can be stored nowhere."""
    for name, text in texts.items():
        problem = "must be text" if not isinstance(text, str) else plain.text_problem(text)
        if text is not None and problem:
            raise InvalidRequest(f"{name}: {problem}")


def fill_page(
    parts: Iterator[ListedPart],
    matches: Callable[[Mapping[str, str]], bool],
    load: Callable[[list[str]], list[Item | None]],
    *,
    after: Cursor | None,
    limit: int,
    is_settled: bool,
    looking_seconds: float = LOOKING_SECONDS,
) -> Page[Item]:
    """Load items until the page is full.

    `matches` looks at what the filter needs and no more; only what passes is loaded whole. `load` answers None for what
    cannot be read. After `looking_seconds` the page ends where it is, if any are left: a hundred thousand entries
    cannot be looked through at once without keeping everybody waiting. `is_settled`: all that are listed match; where
    they do not, a page that holds everything has counted them.
    """
    items: list[Item] = []
    deadline, total, looked_at = time.monotonic() + looking_seconds, 0, 0
    for part in parts:
        total, looked_at, position = part.total_count, part.before_count, 0
        while position < len(part.entries):
            wanted: list[str] = []
            while position < len(part.entries) and len(wanted) < limit - len(items):
                if matches(part.entries[position].fields):
                    wanted.append(part.entries[position].id)
                position += 1
            items += [item for item in load(wanted) if item is not None]
            looked_at = part.before_count + position
            is_full = len(items) == limit and looked_at < total
            if is_full or (position == len(part.entries) and part.left_count and time.monotonic() > deadline):
                return Page(items, str(Cursor.of(part.entries[position - 1])), total, is_settled, looked_at)
    if after is None and not is_settled:
        return Page(items, None, len(items), True, looked_at)
    return Page(items, None, total, is_settled, looked_at)


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
