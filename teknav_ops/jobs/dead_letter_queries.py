"""Reading dead letters: groups by cause first, then entries, a page at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import datetime

import structlog

from teknav_ops.errors import CorruptRecord, InvalidRequest, UnknownJob
from teknav_ops.jobs.dead_letter import DeadLetter, read_dead_letter
from teknav_ops.jobs.paging import Page, Window, check_page, fill_page, zset_steps
from teknav_ops.jobs.queries import read_hashes
from teknav_ops.jobs.record import moment
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.jobs")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters. `text` looks into error and payload, without regard to case."""

    error_type: str | None = None
    fingerprint: str | None = None
    job_name: str | None = None
    text: str | None = None
    window: Window = Window()

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether a dead letter's hash passes; time is the caller's to check."""
        return (
            (self.error_type is None or fields.get("errorType") == self.error_type)
            and (self.fingerprint is None or fields.get("fingerprint") == self.fingerprint)
            and (self.job_name is None or fields.get("jobName") == self.job_name)
            and (self.text is None or self.text.casefold() in _searched(fields))
        )

    def index(self, keys: QueueKeys) -> str:
        """The smallest sorted set that holds all matches."""
        if self.fingerprint is not None:
            return keys.dlq_fingerprint(self.fingerprint)
        if self.error_type is not None:
            return keys.dlq_type(self.error_type)
        return keys.dlq


@dataclasses.dataclass(frozen=True, slots=True)
class DeadLetterGroup:
    """Dead letters with one cause."""

    error_type: str
    fingerprint: str
    count: int
    first_failed_at: datetime
    last_failed_at: datetime
    example_error: str


def _searched(fields: Mapping[str, str]) -> str:
    return f"{fields.get('error', '')}\n{fields.get('payload', '')}\n{fields.get('originalJobId', '')}".casefold()


class DeadLetterQueries:
    """Everything that is asked of dead letters. Nothing here writes."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    def get(self, queue: str, job_id: str) -> DeadLetter:
        """One dead letter. Raises UnknownQueue, UnknownJob or CorruptRecord."""
        keys = QueueKeys(self._topology[queue].name)
        fields = self._client.hgetall(keys.dlq_record(job_id))
        if not fields:
            raise UnknownJob(f"job: {self._topology[queue].dlq_name} holds no dead letter {job_id!r}")
        return read_dead_letter(job_id, fields)

    def page(
        self, queue: str, *, where: DeadLetterFilter | None = None, offset: int = 0, limit: int = 50
    ) -> Page[DeadLetter]:
        """Dead letters, newest first. Raises InvalidRequest for an offset or limit out of range."""
        check_page(offset, limit)
        where = where or DeadLetterFilter()
        keys = QueueKeys(self._topology[queue].name)

        def read(ids: list[str]) -> list[DeadLetter | None]:
            hashes = read_hashes(self._client, [keys.dlq_record(job_id) for job_id in ids])
            return [
                _readable(job_id, fields) if where.matches(fields) else None
                for job_id, fields in zip(ids, hashes, strict=True)
            ]

        index = where.index(keys)
        low, high = where.window.scores()
        total = int(self._client.zcount(index, low, high))
        steps = zset_steps(self._client, index, where.window, newest_first=True, offset=offset)
        return fill_page(steps, read, offset=offset, limit=limit, total=total)

    def ids(self, queue: str, where: DeadLetterFilter, *, limit: int) -> list[tuple[str, int, str]]:
        """Up to `limit` matches, oldest first, as (job id, failed at ms, error type): a list to freeze."""
        if limit < 1:
            raise InvalidRequest(f"limit: {limit} is not a positive number")
        return list(self._ids(QueueKeys(self._topology[queue].name), where, limit))

    def _ids(self, keys: QueueKeys, where: DeadLetterFilter, limit: int) -> Iterator[tuple[str, int, str]]:
        found = 0
        for ids in zset_steps(self._client, where.index(keys), where.window, newest_first=False, offset=0):
            hashes = read_hashes(self._client, [keys.dlq_record(job_id) for job_id in ids])
            for job_id, fields in zip(ids, hashes, strict=True):
                if fields and where.matches(fields):
                    yield job_id, int(fields["failedAt"]), fields["errorType"]
                    found += 1
                    if found == limit:
                        return

    def groups(self, queue: str) -> list[DeadLetterGroup]:
        """The causes, most frequent first."""
        keys = QueueKeys(self._topology[queue].name)
        counts = self._client.hgetall(keys.dlq_groups)
        groups = [self._group(keys, name, int(count)) for name, count in counts.items()]
        return sorted((group for group in groups if group), key=lambda group: -group.count)

    def _group(self, keys: QueueKeys, name: str, count: int) -> DeadLetterGroup | None:
        error_type, _, fingerprint = name.rpartition("|")
        index = keys.dlq_fingerprint(fingerprint)
        oldest = self._client.zrange(index, 0, 0, withscores=True)
        newest = self._client.zrange(index, -1, -1, withscores=True)
        if not oldest or not newest:
            return None
        first, last = moment(oldest[0][1]), moment(newest[0][1])
        assert first is not None and last is not None
        error = self._client.hget(keys.dlq_record(newest[0][0]), "error") or ""
        return DeadLetterGroup(error_type, fingerprint, count, first, last, str(error))


def _readable(job_id: str, fields: Mapping[str, str]) -> DeadLetter | None:
    try:
        return read_dead_letter(job_id, fields)
    except CorruptRecord as error:
        log.error("dead_letter.corrupt", job_id=job_id, error=str(error))
        return None
