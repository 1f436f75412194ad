"""The audit trail as operators read it: filtered pages, newest first, and what comes next."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any, Final
from typing import cast as cast_type

from sqlalchemy import Select, Table, Text, cast, or_, select, text
from sqlalchemy.orm import Session

from teknav_ops.errors import InvalidRequest, StorageUnavailable
from teknav_ops.jobs.paging import PAGE_LIMIT, Window, check_texts
from teknav_ops.jobs.text_search import search_for
from teknav_ops.storage.database import Database
from teknav_ops.storage.settled import settled_id
from teknav_ops.storage.tables import AuditLog
from teknav_ops.storage.tables.audit import NOTABLE, ROUTINE_ACTIONS

#: Entries looked at for one page, when few match: the page then ends early and says where to go on.
LOOK_LIMIT: Final = 200_000
#: Entries looked at at once: few to begin with, since most often many match.
_FIRST_STEP: Final = 1_000
_STEP: Final = 20_000
_JOBS_OF_TRACE: Final = 1_000
_SETTLE_SECONDS: Final = 10.0
_TABLE: Final = cast_type(Table, AuditLog.__table__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One thing that happened. `id` is None while it is only in its queue's stream."""

    id: int | None
    at: datetime
    action: str
    actor: str | None = None
    queue: str | None = None
    stream_id: str | None = None
    job_id: str | None = None
    job_name: str | None = None
    attempt: int | None = None
    delivery: int | None = None
    duration_ms: float | None = None
    waited_ms: float | None = None
    error_type: str | None = None
    fingerprint: str | None = None
    trace_id: str | None = None
    outcome: str | None = None
    detail: dict[str, Any] | None = None


ENTRY_COLUMNS: Final = [getattr(AuditLog, field.name) for field in dataclasses.fields(AuditEntry)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """Which entries. An `action` that ends in `.` is a beginning (`dlq.`); `text` is looked for in the detail's
    values, the error type and the job's name (`jobs/text_search.py`).
    """

    queue: str | None = None
    action: str | None = None
    actor: str | None = None
    job_id: str | None = None
    trace_id: str | None = None
    error_type: str | None = None
    fingerprint: str | None = None
    outcome: str | None = None
    text: str | None = None
    #: Only what people did: entries of operators have an outcome.
    is_by_operator: bool = False
    window: Window = Window()

    def __post_init__(self) -> None:
        """Raises InvalidRequest for a text that nothing stored can hold, or that asks for nothing."""
        check_texts(
            queue=self.queue, action=self.action, actor=self.actor, job_id=self.job_id, trace_id=self.trace_id,
            error_type=self.error_type, fingerprint=self.fingerprint, outcome=self.outcome, text=self.text,
        )  # fmt: skip
        search_for(self.text)

    @property
    def spares_routine(self) -> bool:
        """Whether no entry of an ordinary job can match, so that the index of the others is enough."""
        if self.error_type or self.fingerprint or self.outcome or self.is_by_operator:
            return True
        return self.action is not None and not any(_has_action(each, self.action) for each in ROUTINE_ACTIONS)


def _has_action(action: str, wanted: str) -> bool:
    return action.startswith(wanted) if wanted.endswith(".") else action == wanted


@dataclasses.dataclass(frozen=True, slots=True)
class AuditPage:
    """Entries, newest first. `next_cursor` is None when nothing older matches; with fewer items than asked for, it
    says that the search went back to `looked_back_to` and may go on.
    """

    items: list[AuditEntry]
    next_cursor: str | None
    looked_back_to: datetime | None = None


class AuditTrail:
    """Reads AuditLog. Nothing here writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, where: AuditFilter | None = None, *, cursor: str | None = None, limit: int = 50) -> AuditPage:
        """The newest entries that match, before `cursor` if one is given. Bounded whatever the filter.

        Raises:
            InvalidRequest: limit or cursor cannot be.
            StorageUnavailable: the database did not answer.
        """
        if not 1 <= limit <= PAGE_LIMIT:
            raise InvalidRequest(f"limit: {limit} is not between 1 and {PAGE_LIMIT}")
        where = where or AuditFilter()
        before = None if cursor is None else _parse_cursor(cursor)
        items: list[AuditEntry] = []
        step, looked_at = _FIRST_STEP, 0
        with self._database.reading() as session:
            indexed = _indexed(session, where)
            while looked_at < LOOK_LIMIT:
                items += _looked_through(session, _newest(indexed, before).limit(step), where, limit - len(items))
                if len(items) == limit:
                    return AuditPage(items, _cursor_of(items[-1].at, items[-1].id or 0))
                ends = _newest(indexed, before).with_only_columns(AuditLog.at, AuditLog.id).offset(step - 1).limit(1)
                end = session.execute(ends).one_or_none()
                if end is None:
                    return AuditPage(items, None)
                before, looked_at, step = (end.at, end.id), looked_at + step, _STEP
        assert before is not None
        return AuditPage(items, _cursor_of(*before), before[0])

    def newest_id(self) -> int:
        """The id from which `since` goes on; no entry with a smaller one will appear any more.

        Raises:
            StorageUnavailable: the database did not answer, or someone has been inserting for ten seconds.
        """
        newest = settled_id(self._database, _TABLE, wait_seconds=_SETTLE_SECONDS)
        if newest is None:
            raise StorageUnavailable(f"a transaction has been writing to AuditLog for {_SETTLE_SECONDS:g} s")
        return newest

    def since(
        self, after_id: int, where: AuditFilter | None = None, *, limit: int = PAGE_LIMIT
    ) -> tuple[list[AuditEntry], int]:
        """Entries that match and came after an id, oldest first, and the id to go on from."""
        newest = min(self.newest_id(), after_id + _STEP)
        if newest <= after_id:
            return [], after_id
        with self._database.reading() as session:
            where = where or AuditFilter()
            new = select(*ENTRY_COLUMNS).where(
                AuditLog.id > after_id, AuditLog.id <= newest, *_indexed(session, where)
            )  # fmt: skip
            items = _looked_through(session, new, where, limit, newest_first=False)
        return items, (items[-1].id or newest) if len(items) == limit else newest


def jobs_of_trace(session: Session, trace_id: str) -> list[str]:
    """The jobs that were enqueued under a trace id, a thousand at most."""
    enqueued = select(AuditLog.job_id).where(AuditLog.action == text("'job.enqueued'"), AuditLog.trace_id == trace_id)
    return [job_id for job_id in session.scalars(enqueued.limit(_JOBS_OF_TRACE)) if job_id]


def _indexed(session: Session, where: AuditFilter) -> list[Any]:
    """The conditions that an index serves: what they leave is looked at entry by entry."""
    conditions: list[Any] = []
    if where.window.since is not None:
        conditions.append(AuditLog.at >= where.window.since)
    if where.window.until is not None:
        conditions.append(AuditLog.at < where.window.until)
    if where.job_id is not None:
        conditions.append(AuditLog.job_id == where.job_id)
    if where.trace_id is not None:
        conditions.append(AuditLog.job_id.in_(jobs_of_trace(session, where.trace_id)))
    if where.job_id is not None or where.trace_id is not None:
        return conditions
    if where.fingerprint is not None:
        conditions.append(AuditLog.fingerprint == where.fingerprint)
    elif where.spares_routine:
        conditions.append(text(NOTABLE))
    return conditions


def _remaining(entry: Any, where: AuditFilter) -> list[Any]:
    """All conditions but the window's and the text, on the columns of `entry`."""
    names = ("queue", "actor", "job_id", "error_type", "fingerprint", "outcome")
    wanted = {name: getattr(where, name) for name in names}
    conditions: list[Any] = [getattr(entry, name) == value for name, value in wanted.items() if value is not None]
    if where.action is not None and where.action.endswith("."):
        conditions.append(entry.action.startswith(where.action, autoescape=True))
    elif where.action is not None:
        conditions.append(entry.action == where.action)
    if where.is_by_operator:
        conditions.append(entry.outcome.is_not(None))
    return conditions


def _newest(indexed: list[Any], before: tuple[datetime, int] | None) -> Select[Any]:
    source = select(*ENTRY_COLUMNS).where(*indexed)
    if before is not None:
        at, entry_id = before
        source = source.where(AuditLog.at <= at, or_(AuditLog.at < at, AuditLog.id < entry_id))
    return source.order_by(AuditLog.at.desc(), AuditLog.id.desc())


def _looked_through(
    session: Session, source: Select[Any], where: AuditFilter, limit: int, *, newest_first: bool = True
) -> list[AuditEntry]:
    """The first `limit` entries of `source` that match."""
    looked_at = source.subquery()
    found = looked_at.c
    ordered = (found.at.desc(), found.id.desc()) if newest_first else (found.id,)
    matching = select(looked_at).where(*_remaining(found, where)).order_by(*ordered)
    if where.text is None:
        matching = matching.limit(limit)
    else:
        # No database folds letters as we do: what may hold the text is brought here, and no more of it than that.
        searched = select(found.id, found.job_name, found.error_type, cast(found.detail, Text))
        rows = session.execute(searched.where(*_remaining(found, where)).order_by(*ordered))
        search = search_for(where.text)
        ids = [row[0] for row in rows if search.is_in(row[1] or "", row[2] or "", stored_json=row[3] or "")][:limit]
        matching = select(*ENTRY_COLUMNS).where(AuditLog.id.in_(ids)).order_by(*_same_order(newest_first))
    return [AuditEntry(**row._mapping) for row in session.execute(matching)]


def _same_order(newest_first: bool) -> tuple[Any, ...]:
    return (AuditLog.at.desc(), AuditLog.id.desc()) if newest_first else (AuditLog.id,)


def _cursor_of(at: datetime, entry_id: int) -> str:
    return f"{round(at.timestamp() * 1_000_000)}-{entry_id}"


def _parse_cursor(cursor: str) -> tuple[datetime, int]:
    at_us, _, entry_id = cursor.partition("-")
    if not (cursor.isascii() and at_us.isdecimal() and entry_id.isdecimal() and len(cursor) <= 40):
        raise InvalidRequest(f"cursor: {cursor!r} is not one; give the next_cursor of the page before")
    return datetime.fromtimestamp(int(at_us) / 1_000_000, UTC), int(entry_id)
