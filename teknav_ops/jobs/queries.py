"""Reading jobs: by id, by state, by name, trace and time, a page at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from teknav_ops.errors import CorruptRecord, InvalidRequest, UnknownJob
from teknav_ops.jobs.identifiers import checked_id
from teknav_ops.jobs.paging import (
    LOOKING_SECONDS,
    Cursor,
    Page,
    Window,
    check_limit,
    check_texts,
    fill_page,
    is_newest_first,
    read_hashes,
)
from teknav_ops.jobs.record import JobRecord, damaged_record, read_record
from teknav_ops.jobs.scanning import Source, scan
from teknav_ops.jobs.states import JobState
from teknav_ops.jobs.text_search import search_for
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.jobs")

#: A worker silent for this long is not counted.
HEARTBEAT_MS = 60_000
#: By which moment a state's jobs can be sorted, both ways: the one that Redis keeps them by. Those that wait come as
#: they will run, those that run by the end of their lease: no key gives another order of them.
SORTED_BY: Final = {
    JobState.DELAYED: "due_at",
    JobState.COMPLETED: "finished_at",
    JobState.FAILED: "finished_at",
    JobState.CANCELLED: "finished_at",
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs to list. `text` is looked for in the payload's values (`text_search.py`)."""

    name: str | None = None
    trace_id: str | None = None
    text: str | None = None
    window: Window = Window()

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a text that nothing stored can hold, or that asks for nothing."""
        check_texts(name=self.name, trace=self.trace_id, text=self.text)
        search_for(self.text)

    @property
    def fields(self) -> list[str]:
        """What `matches` looks at; nothing for a filter that lets all pass."""
        looked_at = {"name": self.name, "trace": self.trace_id, "payload": self.text}
        return [name for name, wanted in looked_at.items() if wanted is not None]

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether a job passes; time is the caller's to check."""
        return (
            (self.name is None or fields.get("name") == self.name)
            and (self.trace_id is None or fields.get("trace") == self.trace_id)
            and search_for(self.text).is_in(stored_json=fields.get("payload", ""))
        )


class JobQueries:
    """Everything that is asked of jobs. Nothing here writes."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology
        self._runner = ScriptRunner(client)

    def counts(self, queue: str) -> QueueCounts:
        """One queue's counts at one instant. Raises UnknownQueue."""
        keys = QueueKeys(self._topology[queue].name)
        return self._runner.run(scripts.queue_counts(keys, heartbeat_ms=HEARTBEAT_MS))

    def all_counts(self) -> dict[str, QueueCounts]:
        """Every queue's counts, in one round trip."""
        calls = [scripts.queue_counts(QueueKeys(name), heartbeat_ms=HEARTBEAT_MS) for name in self._topology]
        answers = self._runner.run_many(calls)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return dict(zip(self._topology, answers, strict=True))

    def get(self, queue: str, job_id: str) -> JobRecord:
        """One job, damaged or not. Raises UnknownQueue or UnknownJob."""
        keys = QueueKeys(self._topology[queue].name)
        (fields,) = read_hashes(self._client, [keys.job(checked_id(job_id))])
        if not fields:
            raise UnknownJob(f"job: {queue} keeps no record of {job_id!r}; finished jobs are kept for a while only")
        return readable_record(queue, job_id, fields)

    def find(self, job_id: str) -> JobRecord:
        """One job, damaged or not, whichever queue it is on, in one round trip. Raises UnknownJob."""
        keys = [QueueKeys(queue).job(checked_id(job_id)) for queue in self._topology]
        for queue, fields in zip(self._topology, read_hashes(self._client, keys), strict=True):
            if fields:
                return readable_record(queue, job_id, fields)
        raise UnknownJob(f"job: no queue keeps a record of {job_id!r}; finished jobs are kept for a while only")

    def many(self, places: Sequence[tuple[str, str]]) -> list[JobRecord]:
        """Jobs by queue and id, in one round trip; those that are gone are left out."""
        keys = [QueueKeys(self._topology[queue].name).job(job_id) for queue, job_id in places]
        rows = zip(places, read_hashes(self._client, keys), strict=True)
        return [readable_record(queue, job_id, fields) for (queue, job_id), fields in rows if fields]

    def page(
        self,
        queue: str,
        state: JobState,
        *,
        where: JobFilter | None = None,
        sort: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
        looking_seconds: float = LOOKING_SECONDS,
    ) -> Page[JobRecord]:
        """Jobs in a state, after `cursor`: what runs next first, what ended newest first, or as `sort` says.

        Raises:
            InvalidRequest: a limit or cursor that cannot be, a time window for waiting jobs, which have none, or an
                order that the state has not (`SORTED_BY`).
        """
        check_limit(limit)
        after = Cursor.parse(cursor)
        where = where or JobFilter()
        keys = QueueKeys(self._topology[queue].name)

        def load(ids: list[str]) -> list[JobRecord | None]:
            hashes = read_hashes(self._client, list(map(keys.job, ids)))
            # One without fields was trimmed, or ended, between the list and the look.
            return [
                readable_record(queue, job_id, row, state) if row else None
                for job_id, row in zip(ids, hashes, strict=True)
            ]

        source = _source(keys, state, where.window, sort)
        parts = scan(self._client, source, where.fields, after=after, step=limit)
        return fill_page(
            parts, where.matches, load, after=after, limit=limit, is_settled=not where.fields,
            looking_seconds=looking_seconds,
        )  # fmt: skip


def readable_record(queue: str, job_id: str, fields: Mapping[str, str], state: JobState | None = None) -> JobRecord:
    """The record, or the row that says that it cannot be read: one damaged record hides neither itself nor others."""
    try:
        return read_record(queue, job_id, fields)
    except CorruptRecord as error:
        log.error("job.corrupt", queue=queue, job_id=job_id, error=str(error))
        return damaged_record(queue, job_id, fields, error, state)


def _source(keys: QueueKeys, state: JobState, window: Window, sort: str | None) -> Source:
    """Where a state's jobs are, in their order."""
    by = SORTED_BY.get(state)
    if sort is not None and by is None:
        raise InvalidRequest(f"sort: {state} jobs have one order, in which they are handed out or held; leave it out")
    if state is JobState.WAITING:
        if window != Window():
            raise InvalidRequest("since/until: waiting jobs are listed in their order; leave the times out")
        return Source.of_waiting(keys)
    newest_first = by == "finished_at" if sort is None else is_newest_first(sort, by or "")
    return Source.of_set(_zset(keys, state), keys.job_family, window, newest_first=newest_first)


def _zset(keys: QueueKeys, state: JobState) -> str:
    return {
        JobState.ACTIVE: keys.active,
        JobState.DELAYED: keys.delayed,
        JobState.COMPLETED: keys.completed,
        JobState.FAILED: keys.failed,
        JobState.CANCELLED: keys.cancelled,
    }[state]
