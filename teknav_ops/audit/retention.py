"""How long AuditLog is kept: rows older than so many days are deleted, in small bites."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, func, select

from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

log = structlog.get_logger("teknav.audit")

EVERY_SECONDS: Final = 3_600.0
#: Rows per transaction: on SQLite all other writers wait for it.
_BITE: Final = 1_000
_PAUSE_SECONDS: Final = 0.05


class AuditRetention:
    """Deletes what is too old; `keep_days` 0 keeps everything. Ids of deleted rows are not given again."""

    def __init__(self, database: Database, *, keep_days: int) -> None:
        self._database = database
        self._keep_days = keep_days

    def step(self) -> bool:
        """Delete one bite, oldest first; True when there is more. Whoever dies in between has deleted less.

        Raises:
            StorageUnavailable: the database did not answer; nothing of the bite is deleted.
        """
        if not self._keep_days:
            return False
        with self._database.reading() as session:
            newest = session.scalar(select(func.max(AuditLog.at)))
        if newest is None:
            return False
        # A host whose clock has run ahead must not delete what is young by the entries' own time.
        oldest_kept = min(newest, datetime.now(UTC)) - timedelta(days=self._keep_days)
        too_old = select(AuditLog.id).where(AuditLog.at < oldest_kept).order_by(AuditLog.at).limit(_BITE)
        with self._database.session() as session:
            ids = session.scalars(too_old).all()
            if ids:
                session.execute(delete(AuditLog).where(AuditLog.id.in_(ids)))
        if ids:
            log.info("audit.pruned", row_count=len(ids), before=oldest_kept.isoformat())
        if len(ids) < _BITE:
            return False
        # Let others write in between.
        time.sleep(_PAUSE_SECONDS)
        return True
