"""The sealer: appends a link over the rows of AuditLog that are new, at the latest after a minute.

It runs where the scheduler leads, behind every writer: rows come from the audit writer in bulk, from operators' doors,
from jobs and from the web process, and none of them waits for it. It goes as far as ids are settled, so no row can
appear below it later. A link is one insert whose number is its key: of two sealers one rolls back.
"""

from __future__ import annotations

import time
from typing import Final
from typing import cast as cast_type

import structlog
from sqlalchemy import Table, func, select
from sqlalchemy.orm import Session

from teknav_ops.audit.chain.lines import content_hash, digest, id_of, is_open, read_lines, read_some
from teknav_ops.audit.chain.links import Facts, Link, LinkKeys, LinkTaken, append, newest_link, open_rows, pack_ids
from teknav_ops.storage.database import Database
from teknav_ops.storage.settled import settled_id
from teknav_ops.storage.tables import AuditLog

log = structlog.get_logger("teknav.audit")

#: How often the sealer looks whether a block is full, and how long a row waits for its seal at most.
LOOK_SECONDS: Final = 5.0
SEAL_SECONDS: Final = 60.0
BLOCK_ROWS: Final = 4_000
_SETTLE_SECONDS: Final = 10.0
_IDS_AT_ONCE: Final = 500
_TABLE: Final = cast_type(Table, AuditLog.__table__)


class AuditSealer:
    """Appends links. One thread may use it; any number of processes may."""

    def __init__(self, database: Database, keys: LinkKeys, *, every_seconds: float = SEAL_SECONDS) -> None:
        self._database = database
        self._keys = keys
        self._every_seconds = every_seconds
        self._due_at = 0.0
        #: Rows that were sealed while their action was under way, as of the link with this hash.
        self._open: set[int] = set()
        self._open_as_of = ""

    def step(self) -> bool:
        """Append one link when a block is full or a row has waited for long. True when there is more to seal.

        Raises:
            StorageUnavailable: the database did not answer; nothing was sealed.
        """
        settled = settled_id(self._database, _TABLE, wait_seconds=_SETTLE_SECONDS)
        if settled is None:
            return False
        try:
            with self._database.session() as session:
                previous = newest_link(session)
                link = self._seal(session, previous, settled)
        except LinkTaken:
            log.info("audit.seal_overtaken")
            return True
        if link is None:
            return False
        log.debug("audit.sealed", number=link.number, hash=link.hash, row_count=link.row_count)
        return link.row_count == BLOCK_ROWS

    def _seal(self, session: Session, previous: Link | None, settled: int) -> Link | None:
        after_id = 0 if previous is None else previous.last_id
        lines = list(read_lines(session, after_id, settled, limit=BLOCK_ROWS))
        if len(lines) < BLOCK_ROWS and time.monotonic() < self._due_at:
            return None
        self._due_at = time.monotonic() + self._every_seconds
        opened = [id_of(line) for line in lines if is_open(line)]
        ended = self._ended(session, previous)
        if not lines and not ended:
            return None
        last_id = id_of(lines[-1]) if lines else after_id
        facts = Facts(
            opened=_hexes(read_some(session, opened, without_end=True)),
            ended=_hexes(read_some(session, ended)),
        )
        between = (AuditLog.id > after_id, AuditLog.id <= last_id)
        link = append(
            session,
            self._keys,
            previous,
            last_id=last_id,
            row_count=len(lines),
            ids=pack_ids([id_of(line) for line in lines]),
            digests=b"".join([digest(line) for line in lines]),
            content_hash=content_hash(lines),
            facts=facts.text(),
            newest_at=session.scalar(select(func.max(AuditLog.at)).where(*between)),
        )
        self._open, self._open_as_of = (self._open | set(opened)) - set(ended), link.hash
        return link

    def _ended(self, session: Session, previous: Link | None) -> list[int]:
        """Rows that were sealed while their action was under way, and that have ended since."""
        if previous is None:
            return []
        if self._open_as_of != previous.hash:
            self._open = open_rows(session)
            self._open_as_of = previous.hash
        wanted = sorted(self._open)
        ended: list[int] = []
        for first in range(0, len(wanted), _IDS_AT_ONCE):
            some = AuditLog.id.in_(wanted[first : first + _IDS_AT_ONCE])
            ended += session.scalars(select(AuditLog.id).where(some, AuditLog.outcome != "requested"))
            if len(ended) >= _IDS_AT_ONCE:
                break
        return ended


def _hexes(lines: dict[int, bytes]) -> dict[int, str]:
    return {row_id: digest(text).hex() for row_id, text in lines.items()}
