"""Operators' actions in AuditLog: written before the action, settled after it.

An action that cannot be recorded is not carried out. One whose process dies in the middle is closed by the
scheduler (`open_actions.py`); what it did to each job is in the job's own entries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import structlog
from sqlalchemy import insert, update

from teknav_ops.audit.open_actions import going_on
from teknav_ops.errors import InvalidRequest, StorageUnavailable, TekNavError
from teknav_ops.payloads import plain
from teknav_ops.payloads.redaction import error_text
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

log = structlog.get_logger("teknav.audit")


class OperatorAction:
    """One action under way; `detail` may be added to until it ends."""

    def __init__(self, detail: dict[str, Any]) -> None:
        self.detail = detail

    def note(self, **facts: Any) -> None:
        """Add facts to the entry."""
        self.detail.update(facts)


class OperatorLog:
    """Writes operators' actions."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """Where it is written."""
        return self._database

    @contextlib.contextmanager
    def record(
        self,
        action: str,
        *,
        actor: str,
        queue: str | None = None,
        job_id: str | None = None,
        is_told_once: bool = False,
        **detail: Any,
    ) -> Iterator[OperatorAction]:
        """Record an action around the work of the `with` block.

        `is_told_once`: what it made, such as a secret, is told now and kept nowhere, so that its end need not be on
        record for it to be told; the scheduler closes the entry.

        Raises:
            InvalidRequest: a fact of the action is nothing that can be written down. The block is not entered.
            StorageUnavailable: AuditLog cannot be written, so the block is not entered.
        """
        try:
            plain.check({"queue": queue, "job_id": job_id, "actor": actor, **detail})
        except plain.NotPlain as error:
            raise InvalidRequest(str(error)) from None
        entry = OperatorAction(dict(detail))
        about = {"action": action, "actor": actor, "queue": queue, "job_id": job_id}
        entry_id = self._begin(about, entry.detail)
        try:
            with going_on(self._database, entry_id):
                yield entry
        except BaseException as error:
            entry.note(error=f"{type(error).__name__}: {error_text(error)}".replace("\0", "\ufffd"))
            self._settle(entry_id, about, "refused" if isinstance(error, TekNavError) else "failed", entry.detail)
            raise
        try:
            self._settle(entry_id, about, "done", entry.detail)
        except StorageUnavailable as error:
            if not is_told_once:
                raise
            log.warning("audit.end_not_recorded", action=action, actor=actor, error=str(error))

    def _begin(self, about: Mapping[str, Any], detail: Mapping[str, Any]) -> int:
        row = {**about, "at": datetime.now(UTC), "outcome": "requested", "detail": dict(detail)}
        with self._database.session() as session:
            entry_id = session.execute(insert(AuditLog).values(row).returning(AuditLog.id)).scalar_one()
        return int(entry_id)

    def _settle(self, entry_id: int, about: Mapping[str, Any], outcome: str, detail: Mapping[str, Any]) -> None:
        still_open = (AuditLog.id == entry_id, AuditLog.outcome == "requested")
        end = {"outcome": outcome, "detail": dict(detail)}
        with self._database.session() as session:
            ended = session.execute(update(AuditLog).where(*still_open).values(end))
            if ended.rowcount:  # type: ignore[attr-defined]
                return
            # It was closed since it was silent for long. An entry ends once, so its real end is one of its own.
            late = {"outcome": outcome, "detail": {**detail, "entry": entry_id}}
            session.execute(insert(AuditLog).values({**about, **late, "at": datetime.now(UTC)}))
