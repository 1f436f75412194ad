"""The scheduler's own verification: a part of AuditLog at a time, round after round, and the anchor each time.

A round compares every row, as `teknav audit verify` does. Where something is found the watch stays, and says so until
it is gone or accepted: an alert is made of it (`audit_changed`), and the doctor and the alerts' page tell it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import structlog
from pydantic import AwareDatetime

from teknav_ops.audit.chain.anchor import Anchor, LinkNumber, anchor_fault, move_anchor, read_anchor, read_kept
from teknav_ops.audit.chain.database_source import DatabaseSource, source_of
from teknav_ops.audit.chain.links import Link, LinkKeys
from teknav_ops.audit.chain.verification import Part
from teknav_ops.audit.chain.verify import verify
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database

log = structlog.get_logger("teknav.audit")

EVERY_SECONDS: Final = 60.0
#: A verdict that is older tells nothing of what is there now.
STALE_SECONDS: Final = 10 * EVERY_SECONDS
#: A quarter of a second of work: ten million rows are gone through in less than three hours.
ROWS_AT_ONCE: Final = 60_000


@dataclasses.dataclass(frozen=True, slots=True)
class ChainVerdict:
    """What was found last, at a time. The next part begins behind link `after_number`; all rows had been
    compared last at `round_at` (None: not yet).
    """

    fault: str | None
    at: AwareDatetime
    after_number: LinkNumber
    round_at: AwareDatetime | None


def read_verdict(client: Client) -> ChainVerdict | None:
    """The last verdict; None where nobody has verified. Raises redis-py's errors."""
    return read_kept(client, keys.AUDIT_WATCH, ChainVerdict)


class ChainWatch:
    """Verifies. What it knows is in Redis, so a successor goes on."""

    def __init__(
        self,
        client: Client,
        database: Database,
        link_keys: LinkKeys,
        *,
        rows_at_once: int = ROWS_AT_ONCE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._database = database
        self._keys = link_keys
        self._rows_at_once = rows_at_once
        self._now = now

    def step(self) -> None:
        """Verify the next part, hold the chain against the anchor, and move that on.

        Raises:
            StorageUnavailable: the database did not answer. An outage of Redis raises redis-py's errors.
        """
        # Before the database's moment: the chain of that moment must hold what was there before.
        anchor, before = read_anchor(self._client), read_verdict(self._client)
        with source_of(self._database) as source:
            verdict = self._look(source, anchor, before)
        if verdict.fault is not None and (before is None or before.fault != verdict.fault):
            log.error("audit.changed", fault=verdict.fault)
        self._client.set(keys.AUDIT_WATCH, json.dumps(dataclasses.asdict(verdict), default=datetime.isoformat))

    def _look(self, source: DatabaseSource, anchor: Anchor | None, before: ChainVerdict | None) -> ChainVerdict:
        try:
            fault = anchor_fault(source, anchor)
            verdict = self._verify(source, before)
            if fault is None:
                move_anchor(self._client, source, anchor)
            return dataclasses.replace(verdict, fault=fault or verdict.fault)
        except (TypeError, ValueError) as error:
            # Of a link, or of a row: only someone with a tool of their own can have written it.
            fault = f"the chain holds what it cannot hold: {error}"
            start = before or ChainVerdict(None, self._now(), 0, None)
            return dataclasses.replace(start, fault=fault, at=self._now())

    def _verify(self, source: DatabaseSource, before: ChainVerdict | None) -> ChainVerdict:
        begin = source.link(before.after_number) if before is not None else None
        last = source.last_number()
        part = Part(begin if isinstance(begin, Link) else None, last, self._rows_at_once)
        found = verify(source, self._keys, part=part)
        at, round_at = self._now(), None if before is None else before.round_at
        number = 0 if part.before is None else part.before.number
        if not found.is_intact:
            more = f" (and {found.finding_count - 1:,} more)" if found.finding_count > 1 else ""
            return ChainVerdict(found.findings[0].text + more, at, number, round_at)
        reached = int((found.newest or "0").partition(":")[0])
        if reached >= last:
            return ChainVerdict(None, at, 0, at)
        return ChainVerdict(None, at, reached, round_at)
