"""The audit writer: moves the queues' audit streams into SQL, exactly once.

A batch's rows and the queue's cursor are committed in one transaction, and the stream is trimmed
only afterwards. Whoever dies in between leaves entries that the cursor already covers: they are
skipped, not doubled. The cursor also fences: a second writer's transaction finds it moved and
rolls back. While SQL takes one batch, the next is read.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from teknav_ops.audit.bulk_insert import RowsRefused, insert_carefully, insert_rows
from teknav_ops.audit.entries import Batch, Row, RowMaker
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.streams import StreamReader
from teknav_ops.storage.database import Database, insert_into
from teknav_ops.storage.tables import AuditCursor
from teknav_ops.topology import Topology

log = structlog.get_logger("teknav.audit")

BATCH_LIMIT: Final = 4_000
#: Entries per round trip: a longer answer falls out of the processor's caches before it is made into rows.
_READ_LIMIT: Final = 500
#: Batches of one queue in a row, before the next queue has its turn.
_BATCHES_IN_A_ROW: Final = 8
_START: Final = "0-0"

ToldUpTo = Callable[[str], str | None]


class CursorMoved(Exception):
    """Another writer committed this batch first; nothing of ours was kept."""


class AuditWriter:
    """Moves entries; `drain` until there are none, or once around with `step`. One thread may use it."""

    def __init__(
        self, client: Client, database: Database, topology: Topology, *, told_up_to: ToldUpTo = lambda _: None
    ) -> None:
        """`told_up_to` names the last entry of a queue that may be moved, since others have read it; None is any."""
        self._client = client
        self._told_up_to = told_up_to
        self._database = database
        self._queues = [QueueKeys(name) for name in topology]
        self._stream = StreamReader(client)
        self._rows = RowMaker(zone="", nothing=None) if database.is_sqlite else RowMaker(zone="+00", nothing="")
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="audit-reader")
        #: queue -> the cursor as last seen: an idle writer asks SQL nothing.
        self._seen: dict[str, str] = {}
        #: Whether another writer was met in this step: what it left is for the next.
        self._met_another = False

    def step(self) -> int:
        """Move a bounded number of each queue's entries. Answers how many were moved, by this writer and no other."""
        self._met_another = False
        with collector_at_rest():
            return sum(self._move(keys) for keys in self._queues)

    def drain(self) -> int:
        """Move everything there is, also while other writers do."""
        total = 0
        while (moved := self.step()) or self._met_another:
            total += moved
        return total

    def _move(self, keys: QueueKeys) -> int:
        cursor = self._seen.get(keys.queue) or self._read_cursor(keys.queue)
        # From the beginning, not from the cursor: what is moved is trimmed, so the first entry is the next one.
        batch = self._read(keys, _START, cursor)
        if batch.rows and _position(batch.rows[0][1]) <= _position(cursor):
            return self._settle_behind(keys, batch, cursor)
        return self._move_in_a_row(keys, batch)

    def _move_in_a_row(self, keys: QueueKeys, batch: Batch) -> int:
        moved = 0
        for _ in range(_BATCHES_IN_A_ROW):
            if not batch.rows:
                break
            ahead = self._ahead.submit(self._read, keys, batch.last_id, batch.last_id) if batch.is_full else None
            if not self._commit(batch):
                break
            self._trim(keys, batch.last_id)
            moved += len(batch.rows)
            if ahead is None:
                break
            batch = ahead.result()
        return moved

    def _settle_behind(self, keys: QueueKeys, batch: Batch, cursor: str) -> int:
        """Entries that the cursor covers: their writer died before it trimmed them, or they came later than
        the cursor with an earlier id, from a server that lost its newest writes and whose clock is behind.
        """
        rows = [row for row in batch.rows if _position(row[1]) <= _position(cursor)]
        with self._database.session() as session:
            missing = insert_carefully(session, rows)
        if missing:
            log.warning("audit.behind_cursor", queue=keys.queue, entry_count=missing, cursor=cursor)
        self._trim(keys, rows[-1][1])
        self._met_another = True
        return missing

    def _read(self, keys: QueueKeys, after: str, cursor: str) -> Batch:
        rows: list[Row] = []
        last_id, entries = cursor, []
        for _ in range(BATCH_LIMIT // _READ_LIMIT):
            until = self._told_up_to(keys.queue) or "+"
            entries = self._stream.read(keys.audit, after=after, count=_READ_LIMIT, until=until)
            rows += self._rows.rows(keys.queue, entries)
            if entries:
                after = last_id = entries[-1][0]
            if len(entries) < _READ_LIMIT:
                break
        return Batch(keys.queue, cursor, last_id, rows, is_full=len(entries) == _READ_LIMIT)

    def _trim(self, keys: QueueKeys, last_id: str) -> None:
        at_ms, sequence = _position(last_id)
        self._client.xtrim(keys.audit, minid=f"{at_ms}-{sequence + 1}", approximate=False)

    def _read_cursor(self, queue: str) -> str:
        with self._database.session() as session:
            start = insert_into(session, AuditCursor).values(
                queue=queue, stream_id=_START, updated_at=datetime.now(UTC)
            )
            session.execute(start.on_conflict_do_nothing())
            cursor = session.scalars(select(AuditCursor.stream_id).where(AuditCursor.queue == queue)).one()
        self._seen[queue] = cursor
        return cursor

    def _commit(self, batch: Batch) -> bool:
        """Rows and cursor, in one transaction; False when another writer was first."""
        # Until the commit is known to have happened, what SQL holds is what counts.
        self._seen.pop(batch.queue, None)
        try:
            self._store(batch)
        except CursorMoved:
            log.info("audit.overtaken", queue=batch.queue)
            self._met_another = True
            return False
        self._seen[batch.queue] = batch.last_id
        return True

    def _store(self, batch: Batch) -> None:
        try:
            with self._database.session() as session:
                _advance(session, batch)
                insert_rows(session, batch.rows)
        except RowsRefused as error:
            # One bad entry must not hold up all that come after it.
            log.error("audit.refused", queue=batch.queue, error=str(error).partition("\n")[0])
            with self._database.session() as session:
                _advance(session, batch)
                insert_carefully(session, batch.rows)


def _advance(session: Session, batch: Batch) -> None:
    moved = session.execute(
        update(AuditCursor)
        .where(AuditCursor.queue == batch.queue, AuditCursor.stream_id == batch.after_id)
        .values(stream_id=batch.last_id, updated_at=datetime.now(UTC))
    )
    if moved.rowcount != 1:  # type: ignore[attr-defined]
        raise CursorMoved(batch.queue)


def _position(stream_id: str) -> tuple[int, int]:
    at_ms, _, sequence = stream_id.partition("-")
    return int(at_ms), int(sequence)


@contextlib.contextmanager
def collector_at_rest() -> Iterator[None]:
    """Go through many rows without Python's collector of cycles."""
    # It would go through each batch several times and find nothing, for a tenth of all that is done here.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
