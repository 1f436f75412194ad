"""Why jobs died: dead letters that share an error type and a fingerprint."""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
from datetime import datetime
from typing import Final

from teknav_ops.errors import InvalidRequest
from teknav_ops.jobs.paging import Cursor, Page, read_fields
from teknav_ops.jobs.record import moment
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import QueueKeys

#: A job id and when it failed, ms; and the first and the last one of a cause.
_Ended = tuple[str, float]
_Span = tuple[_Ended, _Ended]
#: What causes are ordered by; for times, which end of a cause's span.
ORDERS: Final = {"count": 0, "first_failed_at": 0, "last_failed_at": 1}
#: Behind every name.
_LAST: Final = "\U0010ffff"


@dataclasses.dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Dead letters with one cause."""

    error_type: str
    fingerprint: str
    count: int
    first_failed_at: datetime
    last_failed_at: datetime
    example_error: str


@dataclasses.dataclass(frozen=True, slots=True)
class Causes:
    """The most frequent causes of a queue's dead letters, how many causes there are, and each error type's letters."""

    groups: list[DeadLetterGroup]
    count: int
    letters_by_type: dict[str, int]


def read_causes(client: Client, keys: QueueKeys, limit: int | None) -> Causes:
    """The causes, most frequent first, of which no more than `limit` are looked up; three round trips."""
    counts = {name: int(count) for name, count in client.hgetall(keys.dlq_groups).items()}
    first_ones = sorted(counts.items(), key=lambda pair: -pair[1])[:limit]
    spans = _spans(client, [keys.dlq_fingerprint(name.rpartition("|")[2]) for name, _ in first_ones])
    newest = [keys.dlq_record(last[0]) if last else "" for _, last in spans]
    errors = read_fields(client, newest, ["error"])
    groups = [
        _group(name, count, first[1], last[1], row.get("error", ""))
        for (name, count), (first, last), row in zip(first_ones, spans, errors, strict=True)
        if first and last
    ]
    by_type: dict[str, int] = {}
    for name, count in counts.items():
        error_type = name.rpartition("|")[0]
        by_type[error_type] = by_type.get(error_type, 0) + count
    return Causes(groups, len(counts), by_type)


def read_groups(
    client: Client, keys: QueueKeys, *, error_type: str | None, sort: str, after: Cursor | None, limit: int
) -> Page[DeadLetterGroup]:
    """A page of the causes in an order: by their counts, or by when they failed first or last.

    Those by time are all looked up for it. Causes that grow or go between two pages may be on both, or on none.
    Raises InvalidRequest for what is no order.
    """
    by = sort.removeprefix("-")
    if by not in ORDERS:
        raise InvalidRequest(f"sort: {sort[:40]!r} is none of {', '.join(ORDERS)}, each with or without -")
    counts = {name: int(count) for name, count in client.hgetall(keys.dlq_groups).items()}
    wanted = [name for name in counts if error_type is None or name.rpartition("|")[0] == error_type]
    spans: dict[str, _Span] = {}
    if by != "count":
        spans = _known_spans(client, keys, wanted)
        wanted = list(spans)
    ranks: dict[str, float] = {name: spans[name][ORDERS[by]][1] if spans else counts[name] for name in wanted}
    sign = -1 if sort.startswith("-") else 1
    places = sorted((sign * rank, _digest(name), name) for name, rank in ranks.items())
    if after is not None:
        places = places[bisect.bisect_right(places, (sign * float(after.score), after.id, _LAST)) :]
    shown = [name for _, _, name in places[:limit]]
    spans = {name: spans[name] for name in shown} if spans else _known_spans(client, keys, shown)
    errors = read_fields(client, [keys.dlq_record(last[0]) for _, last in spans.values()], ["error"])
    groups = [
        _group(name, counts[name], first[1], last[1], row.get("error", ""))
        for (name, (first, last)), row in zip(spans.items(), errors, strict=True)
    ]
    has_more = len(places) > limit
    end = str(Cursor(f"{ranks[shown[-1]]:.0f}", _digest(shown[-1]))) if has_more else None
    return Page(groups, end, len(wanted))


def _digest(name: str) -> str:
    """Orders causes of one rank, and names one in a cursor, whatever its error type is called."""
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:16]


def _known_spans(client: Client, keys: QueueKeys, names: list[str]) -> dict[str, _Span]:
    """When causes failed first and last; without those that have gone meanwhile."""
    found = _spans(client, [keys.dlq_fingerprint(name.rpartition("|")[2]) for name in names])
    return {name: (first, last) for name, (first, last) in zip(names, found, strict=True) if first and last}


def _spans(client: Client, indexes: list[str]) -> list[tuple[_Ended | None, _Ended | None]]:
    """Oldest and newest entry of each index."""
    if is_cluster(client):
        ends = [client.zrange(key, at, at, withscores=True) for key in indexes for at in (0, -1)]
    else:
        pipeline = client.pipeline(transaction=False)
        for key in indexes:
            pipeline.zrange(key, 0, 0, withscores=True)
            pipeline.zrange(key, -1, -1, withscores=True)
        ends = pipeline.execute()
    found = [end[0] if end else None for end in ends]
    return list(zip(found[::2], found[1::2], strict=True))


def _group(name: str, count: int, first_ms: float, last_ms: float, error: str) -> DeadLetterGroup:
    error_type, _, fingerprint = name.rpartition("|")
    first, last = moment(first_ms), moment(last_ms)
    assert first is not None and last is not None
    return DeadLetterGroup(error_type, fingerprint, count, first, last, error)
