"""Refusals in AuditLog: written down, but never so many that they fill it."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import insert

from teknav_ops.access.identity import Identity
from teknav_ops.errors import NotAllowed, StorageUnavailable
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

log = structlog.get_logger("teknav.access")

#: Entries a minute, from one address or user, and in all.
PER_SUBJECT: Final = 5
IN_ALL: Final = 60
_KEPT_MS: Final = 180_000
_LONGEST_TEXT: Final = 200


class Refusals:
    """Records who was refused what."""

    def __init__(self, client: Client, database: Database) -> None:
        self._client = client
        self._database = database

    def note(self, identity: Identity, error: NotAllowed, **where: str) -> None:
        """Write down that somebody asked for what they have no right to; REST and the pages tell of each from here.

        Other refusals (a wrong password, a sign-in that is not fresh) are none of a right. One that cannot be written
        down is still a refusal.
        """
        if error.operation is None:
            return
        name, facts = identity.operator.name, {"operation": error.operation, **where}
        try:
            self.record("user.refused", actor=name, address=identity.address, **facts)
        except (StorageUnavailable, *OUTAGE_ERRORS) as outage:  # type: ignore[misc]
            log.warning("refusal.not_recorded", actor=name, error=str(outage), **facts)

    def record(self, action: str, *, actor: str | None, address: str, **detail: Any) -> bool:
        """Write a refusal down, unless this minute holds enough of them. False when it was only counted.

        The first entry of a minute says in `not_recorded` how many of the minute before were only counted.
        """
        minute = int(time.time() // 60)
        own = hashlib.sha256(f"{action}|{actor}|{address}".encode("utf-8", "replace")).hexdigest()[:32]
        own_count, before = self._count(own, minute)
        if own_count > PER_SUBJECT:
            return False
        all_count, all_before = self._count("all", minute)
        if all_count > IN_ALL:
            return False
        facts = {"address": address, **{name: _cut(value) for name, value in detail.items()}}
        missing = max(before - PER_SUBJECT if own_count == 1 else 0, all_before - IN_ALL if all_count == 1 else 0)
        if missing > 0:
            facts["not_recorded"] = missing
        row = {
            "at": datetime.now(UTC), "action": action, "actor": _cut(actor), "outcome": "refused", "detail": facts,
        }  # fmt: skip
        with self._database.session() as session:
            session.execute(insert(AuditLog).values(row))
        return True

    def _count(self, subject: str, minute: int) -> tuple[int, int]:
        """How many this minute, this one included, and how many the minute before."""
        with self._client.pipeline() as pipeline:
            pipeline.execute_command("INCR", keys.refusals(subject, minute))
            pipeline.execute_command("PEXPIRE", keys.refusals(subject, minute), _KEPT_MS)
            count = int(pipeline.execute()[0])
        return count, int(self._client.get(keys.refusals(subject, minute - 1)) or 0)


def _cut(value: Any) -> Any:
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value
