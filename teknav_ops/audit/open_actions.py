"""Actions that never said how they ended: their process died, or could not reach the database any more.

An action that goes on for long says so again and again (`going_on`). One that has been silent for a minute, by the
watcher's own clock, is closed: as `done` where what it did stands in AuditLog, else as `interrupted`, and its detail
says what is known. Should its process still come back, the end it tells becomes an entry of its own.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from teknav_ops.audit.lag import AuditLag
from teknav_ops.errors import StorageUnavailable
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import AuditActionBeat, AuditLog

log = structlog.get_logger("teknav.audit")

BEAT_SECONDS: Final = 10.0
#: How long an action may be silent.
SILENT_SECONDS: Final = 60.0
#: How often the watcher looks.
LOOK_SECONDS: Final = 10.0
_CLOSED_AT_ONCE: Final = 100
#: Between the clocks of a program's host and of Redis.
_CLOCK_SLACK: Final = timedelta(minutes=1)
#: How long after it was begun an action's effect is looked for.
_REACH: Final = timedelta(hours=1)
#: Actions that one script carries out, and the entry that this script writes.
_LEAVES: Final = {
    **{
        action: action
        for action in (
            "queue.paused",
            "queue.resumed",
            "queue.configured",
            "job.promoted",
            "job.cancelled",
            "dlq.deleted",
        )
    },
    "dlq.replayed": "job.replayed",
    "job.run_again": "job.enqueued",
}
#: Actions in many steps, each of which leaves an entry per job.
_IN_STEPS: Final = ("dlq.batch_deleted", "dlq.purged")
#: What is only told: it had happened before.
_TOLD: Final = ("dlq.batch_replayed",)
_SILENCE: Final = "whoever began this never said how it ended"


@contextlib.contextmanager
def going_on(database: Database, entry_id: int) -> Iterator[None]:
    """Let an action's entry say that it goes on, for as long as the block does."""
    has_ended = threading.Event()

    def beat() -> None:
        while not has_ended.wait(BEAT_SECONDS):
            with contextlib.suppress(StorageUnavailable), database.session() as session:
                _beat(session, entry_id)

    threading.Thread(target=beat, name=f"action-{entry_id}", daemon=True).start()
    try:
        yield
    finally:
        has_ended.set()


def _beat(session: Session, entry_id: int) -> None:
    first = insert_into(session, AuditActionBeat).values(entry_id=entry_id, beat=1)
    again = first.on_conflict_do_update(index_elements=["entry_id"], set_={"beat": AuditActionBeat.beat + 1})
    session.execute(again)


@dataclasses.dataclass(frozen=True, slots=True)
class _Open:
    id: int
    queue: str | None
    beat: int


@dataclasses.dataclass(frozen=True, slots=True)
class _End:
    outcome: str
    closed: str


class OpenActions:
    """Closes actions that have been silent. One thread may use it; others may do the same elsewhere."""

    def __init__(
        self,
        database: Database,
        lag: Callable[[], Mapping[str, AuditLag | None]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lag` is how far AuditLog is behind each queue, None where that is not known; an outage of Redis raises
        redis-py's errors.
        """
        self._database = database
        self._lag = lag
        self._clock = clock
        #: Of each open action its beat as last seen, and since when it has not changed.
        self._seen: dict[int, tuple[int, float]] = {}

    def step(self) -> bool:
        """Close what has been silent for long. True when there may be more.

        Raises:
            StorageUnavailable: the database did not answer; what is open is closed later.
        """
        now = self._clock()
        with self._database.reading() as session:
            found = [_Open(*row) for row in session.execute(_open())]
            has_old_beats = session.scalar(_old_beats(select(AuditActionBeat.entry_id)).limit(1)) is not None
        if has_old_beats:
            with self._database.session() as session:
                session.execute(_old_beats(delete(AuditActionBeat)))
        before = self._seen
        self._seen = {each.id: (each.beat, now) for each in found}
        self._seen |= {each.id: before[each.id] for each in found if before.get(each.id, (None,))[0] == each.beat}
        silent = [each for each in found if now - self._seen[each.id][1] >= SILENT_SECONDS]
        behind = self._behind() if silent else set()
        due = [each for each in silent if each.queue not in behind]
        for each in due[:_CLOSED_AT_ONCE]:
            self._close(each.id)
        return len(due) > _CLOSED_AT_ONCE

    def _behind(self) -> set[str]:
        """Queues whose entries are not all in AuditLog yet: what an action left may be among those that wait."""
        lags = self._lag().items()
        return {queue for queue, lag in lags if lag is None or lag.oldest_age_ms >= SILENT_SECONDS * 500}

    def _close(self, entry_id: int) -> None:
        with self._database.session() as session:
            still_open = (AuditLog.id == entry_id, AuditLog.outcome == "requested")
            row = session.execute(select(AuditLog).where(*still_open)).scalar_one_or_none()
            if row is None:
                return
            end = _end_of(session, row)
            detail = {**(row.detail or {}), "closed": end.closed}
            session.execute(update(AuditLog).where(*still_open).values(outcome=end.outcome, detail=detail))
        log.warning("audit.action_closed", entry=entry_id, action=row.action, outcome=end.outcome)


def _open() -> Any:
    columns = (AuditLog.id, AuditLog.queue, func.coalesce(AuditActionBeat.beat, 0))
    found = select(*columns).join(AuditActionBeat, AuditActionBeat.entry_id == AuditLog.id, isouter=True)
    return found.where(AuditLog.outcome == "requested").order_by(AuditLog.id)


def _old_beats(statement: Any) -> Any:
    still_open = select(AuditLog.id).where(AuditLog.outcome == "requested")
    return statement.where(AuditActionBeat.entry_id.not_in(still_open))


def _end_of(session: Session, row: AuditLog) -> _End:
    """What AuditLog tells of how an action ended."""
    if row.action in _TOLD:
        return _End("done", f"{_SILENCE}; what it tells of had happened before")
    if row.action in _IN_STEPS:
        return _End("interrupted", f"{_SILENCE}; what it did to each job stands in that job's own entries")
    if row.action not in _LEAVES:
        return _End("interrupted", f"{_SILENCE}; whether it was carried out shows only in what it is about")
    if session.scalar(select(AuditLog.id).where(*_same_request(row)).limit(1)) is not None:
        return _End("interrupted", f"{_SILENCE}; the same was asked for again, so what was done may be from either")
    effect = session.scalar(select(AuditLog.id).where(*_effect(row)).order_by(AuditLog.id).limit(1))
    if effect is None:
        return _End("interrupted", f"{_SILENCE}; the queue's entries hold nothing of it, so it changed nothing")
    return _End("done", f"{_SILENCE}; what it did is entry {effect}")


def _same_request(row: AuditLog) -> tuple[Any, ...]:
    same_job = AuditLog.job_id.is_not_distinct_from(row.job_id)
    return (AuditLog.id != row.id, AuditLog.outcome.is_not(None), *_near(row, row.action), same_job)


def _effect(row: AuditLog) -> tuple[Any, ...]:
    job_id = (row.detail or {}).get("new_job_id") or row.job_id
    is_script = AuditLog.outcome.is_(None)
    return (is_script, *_near(row, _LEAVES[row.action]), AuditLog.job_id.is_not_distinct_from(job_id))


def _near(row: AuditLog, action: str) -> tuple[Any, ...]:
    until = row.at + _CLOCK_SLACK + _REACH
    is_same = (AuditLog.action == action, AuditLog.actor == row.actor, AuditLog.queue == row.queue)
    return (AuditLog.at >= row.at - _CLOCK_SLACK, AuditLog.at < until, *is_same)
