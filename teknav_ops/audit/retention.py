"""How long AuditLog is kept: blocks whose rows are all older than so many days are deleted, in small bites.

First a checkpoint is appended to the chain, which names up to where; then rows and links up to there are deleted. The
tables' triggers let nothing else be deleted, so who dies in between leaves less deleted, never more.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from teknav_ops.audit.chain.links import LinkKeys, LinkTaken, append, newest_link
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog, AuditSeal

log = structlog.get_logger("teknav.audit")

EVERY_SECONDS: Final = 3_600.0
#: Rows per transaction: on SQLite all other writers wait for it.
_BITE: Final = 1_000
_PAUSE_SECONDS: Final = 0.05


class AuditRetention:
    """Deletes what is too old; `keep_days` 0 keeps everything. Ids of deleted rows are not given again."""

    def __init__(self, database: Database, keys: LinkKeys, *, keep_days: int) -> None:
        self._database = database
        self._keys = keys
        self._keep_days = keep_days

    def step(self) -> bool:
        """Delete one bite, oldest first; True when there is more. Whoever dies in between has deleted less.

        Raises:
            StorageUnavailable: the database did not answer; nothing of the bite is deleted.
        """
        if not self._keep_days:
            return False
        with self._database.session() as session:
            has_more = self._delete_bite(session)
        if not has_more:
            has_more = self._append_checkpoint() and self.step()
        if has_more:
            # Let others write in between.
            time.sleep(_PAUSE_SECONDS)
        return has_more

    def _delete_bite(self, session: Session) -> bool:
        """Rows that the newest checkpoint names, then links; whether there may be more."""
        named = session.execute(
            select(func.max(AuditSeal.pruned_to_id), func.max(AuditSeal.pruned_to_number)).where(
                AuditSeal.pruned_to_id.is_not(None)
            )
        ).one()
        if named[0] is None:
            return False
        for key, last in zip((AuditLog.id, AuditSeal.number), named, strict=True):
            gone = session.scalars(select(key).where(key <= last).order_by(key).limit(_BITE)).all()
            if gone:
                session.execute(delete(key.class_).where(key <= gone[-1]))
                log.info("audit.pruned", table=key.class_.__tablename__, count=len(gone), up_to=gone[-1])
            if len(gone) == _BITE:
                return True
        return False

    def _append_checkpoint(self) -> bool:
        """Whether there is a block that is too old, and nobody else appended a link at the same time."""
        with self._database.reading() as session:
            newest_at = session.scalar(select(func.max(AuditLog.at)))
        if newest_at is None:
            return False
        # A host whose clock has run ahead must not delete what is young by the entries' own time.
        oldest_kept = min(newest_at, datetime.now(UTC)) - timedelta(days=self._keep_days)
        try:
            with self._database.session() as session:
                last = _last_too_old(session, oldest_kept)
                if last is None:
                    return False
                previous = newest_link(session)
                assert previous is not None
                append(session, self._keys, previous, last_id=previous.last_id,
                       pruned_to_id=last.last_id, pruned_to_number=last.number)  # fmt: skip
        except LinkTaken:
            return False
        log.info("audit.checkpoint", before=oldest_kept.isoformat(), row_id=last.last_id, link=last.number)
        return True


def _last_too_old(session: Session, oldest_kept: datetime) -> Any:
    """The last link before the first block that is kept; None when that is the first of all.

    A row whose host's clock was ahead holds its block up no longer than it has been on record.
    """
    is_kept = (AuditSeal.newest_at >= oldest_kept, AuditSeal.sealed_at >= oldest_kept)
    first_kept = session.scalar(select(func.min(AuditSeal.number)).where(AuditSeal.row_count > 0, *is_kept))
    older = select(AuditSeal.number, AuditSeal.last_id).order_by(AuditSeal.number.desc()).limit(1)
    if first_kept is not None:
        older = older.where(AuditSeal.number < first_kept)
    return session.execute(older.where(AuditSeal.row_count > 0)).one_or_none()
