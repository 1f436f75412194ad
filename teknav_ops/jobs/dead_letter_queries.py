"""Reading dead letters: groups by cause first, then entries, a page at a time."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from teknav_ops.errors import CorruptRecord, InvalidRequest, UnknownJob
from teknav_ops.jobs.dead_letter import DeadLetter, damaged_letter, read_dead_letter
from teknav_ops.jobs.dead_letter_causes import Causes, DeadLetterGroup, read_causes, read_groups
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.jobs.paging import (
    LOOKING_SECONDS,
    STEP,
    Cursor,
    Page,
    Window,
    check_limit,
    check_texts,
    fill_page,
    read_fields,
    read_hashes,
)
from teknav_ops.jobs.scanning import Source, scan
from teknav_ops.jobs.text_search import search_for
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.jobs")

_REPLAY_ID: Final = re.compile(r"[0-9a-f]{1,32}")
#: What names a failure.
_FROZEN: Final = ("failedAt", "errorType", "fingerprint")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterFilter:
    """Which dead letters. `text` is looked for in error, job id and the payload's values (`text_search.py`)."""

    error_type: str | None = None
    fingerprint: str | None = None
    job_name: str | None = None
    text: str | None = None
    #: Only what failed again after this batch replay.
    replay: str | None = None
    window: Window = Window()

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a text that nothing stored can hold, or that asks for nothing."""
        check_texts(error_type=self.error_type, fingerprint=self.fingerprint, job_name=self.job_name, text=self.text)
        search_for(self.text)
        check_texts(replay=self.replay)

    @property
    def fields(self) -> list[str]:
        """What `matches` looks at beyond what the index has settled; stack traces are never read for it."""
        settled_by_index = self.replay is None and (self.fingerprint is None or self.error_type is None)
        looked_at = [] if settled_by_index else ["errorType", "fingerprint"]
        # A job that failed again stays listed so when it has failed once more.
        looked_at += ["replay"] if self.replay is not None else []
        looked_at += ["jobName"] if self.job_name is not None else []
        return looked_at + (["error", "payload", "originalJobId"] if self.text is not None else [])

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether a dead letter passes; time and index are the caller's to check."""
        return (
            (self.error_type is None or fields.get("errorType", self.error_type) == self.error_type)
            and (self.fingerprint is None or fields.get("fingerprint", self.fingerprint) == self.fingerprint)
            and (self.replay is None or fields.get("replay") == self.replay)
            and (self.job_name is None or fields.get("jobName") == self.job_name)
            and search_for(self.text).is_in(
                fields.get("error", ""), fields.get("originalJobId", ""), stored_json=fields.get("payload", "")
            )
        )

    def index(self, keys: QueueKeys) -> str:
        """The smallest sorted set that holds all matches."""
        if self.replay is not None:
            return keys.replay_again(self.replay)
        if self.fingerprint is not None:
            return keys.dlq_fingerprint(self.fingerprint)
        if self.error_type is not None:
            return keys.dlq_type(self.error_type)
        return keys.dlq


@dataclasses.dataclass(frozen=True, slots=True)
class FrozenFailure:
    """One failure, named by job and moment so that no later one is meant; with its cause."""

    job_id: str
    failed_at_ms: int
    error_type: str
    fingerprint: str


class DeadLetterQueries:
    """Everything that is asked of dead letters. Nothing here writes."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    def get(self, queue: str, job_id: str) -> DeadLetter:
        """One dead letter, damaged or not. Raises UnknownQueue or UnknownJob."""
        keys = QueueKeys(self._topology[queue].name)
        (fields,) = read_hashes(self._client, [keys.dlq_record(checked_id(job_id))])
        if not fields:
            raise UnknownJob(f"job: {self._topology[queue].dlq_name} holds no dead letter {job_id!r}")
        return _readable(queue, job_id, fields)

    def page(
        self,
        queue: str,
        *,
        where: DeadLetterFilter | None = None,
        cursor: str | None = None,
        limit: int = 50,
        newest_first: bool = True,
        looking_seconds: float = LOOKING_SECONDS,
    ) -> Page[DeadLetter]:
        """Dead letters by when they failed, after `cursor`.

        Raises InvalidRequest for what is no limit or cursor, and as `check`.
        """
        check_limit(limit)
        after = Cursor.parse(cursor)
        where = where or DeadLetterFilter()
        self.check(queue, where)
        keys = QueueKeys(queue)

        def load(ids: list[str]) -> list[DeadLetter | None]:
            hashes = read_hashes(self._client, list(map(keys.dlq_record, ids)))
            # One without fields was replayed or deleted between the list and the look.
            return [_readable(queue, job_id, row) if row else None for job_id, row in zip(ids, hashes, strict=True)]

        source = _source(keys, where, newest_first=newest_first)
        parts = scan(self._client, source, where.fields, after=after, step=limit)
        return fill_page(
            parts, where.matches, load, after=after, limit=limit, is_settled=not where.fields,
            looking_seconds=looking_seconds,
        )  # fmt: skip

    def check(self, queue: str, where: DeadLetterFilter) -> None:
        """Whether there is what is asked for: none that match is an answer, and a batch replay that never was is not.

        Raises UnknownQueue, UnknownJob.
        """
        keys = QueueKeys(self._topology[queue].name)
        if where.replay is None:
            return
        if not _REPLAY_ID.fullmatch(where.replay) or not self._client.exists(keys.replay(where.replay)):
            raise UnknownJob(
                f"replay: {queue} has no batch replay {where.replay[:64]!r} to filter by; they are kept for thirty days"
            )

    def failures(
        self, queue: str, where: DeadLetterFilter, *, limit: int, with_damaged: bool = False
    ) -> tuple[list[FrozenFailure], int]:
        """Up to `limit` matches, oldest first, as a list to freeze; and how many match in all.

        A damaged one names no failure that could be replayed. `with_damaged`, for what is to be deleted, all are named
        by the moment they stand listed under, whatever their record says.
        """
        if limit < 1:
            raise InvalidRequest(f"limit: {limit} is not a positive number")
        self.check(queue, where)
        keys = QueueKeys(queue)
        found: list[FrozenFailure] = []
        matching = 0
        fields = [*dict.fromkeys([*where.fields, *_FROZEN])]
        for part in scan(self._client, _source(keys, where, newest_first=False), fields, step=STEP):
            failures = [
                _frozen(entry.id, entry.fields, entry.score if with_damaged else entry.fields.get("failedAt"))
                for entry in part.entries
                if where.matches(entry.fields)
            ]
            known = [failure for failure in failures if failure is not None]
            matching += len(known)
            found += known[: limit - len(found)]
            if len(found) == limit and not where.fields:
                return found, part.total_count
        return found, matching

    def failures_of(self, queue: str, job_ids: Sequence[str], *, with_damaged: bool = False) -> list[FrozenFailure]:
        """The dead letters of these jobs, in their order and each once; jobs without one are left out."""
        keys = QueueKeys(self._topology[queue].name)
        wanted = list(dict.fromkeys(map(checked_id, job_ids)))
        found: list[FrozenFailure] = []
        for first in range(0, len(wanted), STEP):
            ids = wanted[first : first + STEP]
            rows = read_fields(self._client, list(map(keys.dlq_record, ids)), _FROZEN)
            moments = [row.get("failedAt") for row in rows]
            if with_damaged:
                moments = self._client.execute_command("ZMSCORE", keys.dlq, *ids)
            failures = [_frozen(*each) for each in zip(ids, rows, moments, strict=True)]
            found += [failure for failure in failures if failure is not None]
        return found

    def groups(
        self,
        queue: str,
        *,
        error_type: str | None = None,
        sort: str = "-count",
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[DeadLetterGroup]:
        """Causes after `cursor`, most frequent first; three round trips, however many there are.

        Raises InvalidRequest for what is no limit, order or cursor.
        """
        check_limit(limit)
        check_texts(error_type=error_type)
        keys, after = QueueKeys(self._topology[queue].name), Cursor.parse(cursor)
        return read_groups(self._client, keys, error_type=error_type, sort=sort, after=after, limit=limit)

    def causes(self, queue: str, *, limit: int | None = None) -> Causes:
        """The causes, most frequent first, of which no more than `limit` are looked up; three round trips."""
        return read_causes(self._client, QueueKeys(self._topology[queue].name), limit)


def _source(keys: QueueKeys, where: DeadLetterFilter, *, newest_first: bool) -> Source:
    return Source.of_set(where.index(keys), keys.dlq_record_family, where.window, newest_first=newest_first)


def _frozen(job_id: str, row: Mapping[str, str], failed_at_ms: str | float | None) -> FrozenFailure | None:
    try:
        at_ms = int(float(failed_at_ms or ""))
    except ValueError:
        # It is gone, or damaged: it names no failure that could be replayed.
        return None
    return FrozenFailure(job_id, at_ms, row.get("errorType", ""), row.get("fingerprint", ""))


def _readable(queue: str, job_id: str, fields: Mapping[str, str]) -> DeadLetter:
    try:
        return read_dead_letter(job_id, fields)
    except CorruptRecord as error:
        log.error("dead_letter.corrupt", job_id=job_id, error=str(error))
        return damaged_letter(queue, job_id, fields, error)
