"""Records that say something else than their jobs: found, and put right if nobody wrote them meanwhile."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import structlog
from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from teknav_ops.platform.job_records.job_now import JobNow, jobs_now
from teknav_ops.platform.job_records.kind import Kind
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.records")


@dataclasses.dataclass(frozen=True, slots=True)
class Change:
    """What records of one kind are to say: the values of each, and the id, status and stamp that it was read with."""

    kind: Kind
    values: Sequence[dict[str, Any]]

    def prepare(self, client: Client, database: Database) -> None:
        """Do what must have been done before the records say so. Safe to do twice."""
        if self.values:
            self.kind.before(client, database, {each["read_id"]: each["status"] for each in self.values})

    def make(self, session: Session) -> None:
        """Write what nobody else wrote since it was read."""
        if not self.values:
            return
        table = self.kind.table.__table__
        stamp = table.c[self.kind.stamp]
        as_read = (
            table.c.id == bindparam("read_id"),
            table.c.status == bindparam("read_status"),
            stamp == bindparam("read_stamp", type_=stamp.type),
        )
        session.connection().execute(update(table).where(*as_read), list(self.values))  # type: ignore[arg-type]
        self.kind.told(session, [each["read_id"] for each in self.values])
        log.info("records.followed", table=table.name, count=len(self.values))  # type: ignore[attr-defined]

    def apart(self) -> list[Change]:
        """The same, a record each."""
        return [Change(self.kind, [each]) for each in self.values]


def write(database: Database, changes: Sequence[Change], *, move: Callable[[Session], bool] | None = None) -> bool:
    """Make the changes in one transaction, in which `move` comes first; False where that said so, and nothing is made.

    Where the database refuses a value, all other records are written all the same.

    Raises:
        StorageUnavailable, StorageRefused: nothing was written.
    """
    try:
        with database.session() as session:
            if move is not None and not move(session):
                return False
            for change in changes:
                change.make(session)
    except DBAPIError as error:
        log.error("records.refused", error=str(error.orig).partition("\n")[0])
        return _write_apart(database, changes, move)
    return True


def _write_apart(database: Database, changes: Sequence[Change], move: Callable[[Session], bool] | None) -> bool:
    """One bad record must not hold up all that come after it."""
    with database.session() as session:
        if move is not None and not move(session):
            return False
        for change in (single for each in changes for single in each.apart()):
            with contextlib.suppress(DataError, IntegrityError), session.begin_nested():
                change.make(session)
    return True


def rows_of_jobs(database: Database, kind: Kind, job_ids: Collection[str]) -> Sequence[Row[Any]]:
    """The records of these jobs."""
    return rows_where(database, kind, kind.table.__table__.c.job_id.in_(job_ids)) if job_ids else []


def rows_where(database: Database, kind: Kind, *where: Any, limit: int | None = None) -> Sequence[Row[Any]]:
    """Records for which all that holds, by id."""
    table = kind.table.__table__
    columns = [table.c[name] for name in ("id", "job_id", "status", kind.stamp, *kind.columns)]
    with database.reading() as session:
        return session.execute(select(*columns).where(*where).order_by(table.c.id).limit(limit)).all()


def change_of(client: Client, database: Database, kind: Kind, rows: Sequence[Row[Any]], *, may_be_gone: bool) -> Change:
    """What these records, which were read before, are to say instead.

    `may_be_gone` says whether a job of which nothing is known counts as gone.

    Raises:
        redis-py's errors of an outage, StorageUnavailable.
    """
    jobs = jobs_now(client, database, kind.queues, {row.job_id for row in rows}) if rows else {}
    found = ((row, kind.facts_of(row, jobs[row.job_id])) for row in rows if _is_known(jobs, row, may_be_gone))
    return Change(
        kind,
        [
            {**facts, "read_id": row.id, "read_status": row.status, "read_stamp": getattr(row, kind.stamp)}
            for row, facts in found
            if facts is not None
        ],
    )


def _is_known(jobs: Any, row: Row[Any], may_be_gone: bool) -> bool:
    now: JobNow | None = jobs.get(row.job_id)
    return now is not None and (may_be_gone or now.state is not None)
