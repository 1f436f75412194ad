"""Refusals in AuditLog: written down, but never so many that they fill it."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import insert

from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import AuditLog

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
