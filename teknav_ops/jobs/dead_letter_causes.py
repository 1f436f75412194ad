"""Why jobs died: dead letters that share an error type and a fingerprint."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from teknav_ops.jobs.paging import read_fields
from teknav_ops.jobs.record import moment
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import QueueKeys

#: A job id and when it failed, ms.
_Ended = tuple[str, float]


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
