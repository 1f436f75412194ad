"""Loading: what is new in SQL into the work file, chunk by chunk, and what is too old out of it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Final

import structlog

from teknav_ops.snapshots.feeds import AUDIT, FEEDS, Feed
from teknav_ops.snapshots.source import LARGE_LOAD_COUNT, Source, reading
from teknav_ops.snapshots.work import WorkFile
from teknav_ops.storage.database import Database
from teknav_ops.storage.settled import settled_id

log = structlog.get_logger("teknav.snapshots")

#: What a row takes at most, measured with small exports; large ones take half.
_ROW_BYTES: Final = 80
_OPEN_CHUNK: Final = 500

#: Told of progress: ids done, ids in all.
Progress = Callable[[int, int], None]
#: The settled id of each feed; None where a transaction holds it up.
Ends = Mapping[str, int | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a load did. `has_more`: it ended early."""

    added: int
    changed: int
    forgotten: int
    has_more: bool


def settled_ids(database: Database, *, wait_seconds: float) -> Ends:
    """How far each feed may be read."""
    return {feed.target: settled_id(database, feed.table, wait_seconds=wait_seconds) for feed in FEEDS}


def is_of_another_database(work: WorkFile, database: Database, ends: Ends) -> bool:
    """Whether SQL is no longer the database that the work file was made from."""
    with reading(database, is_large=False) as source:
        for feed in FEEDS:
            newest, end = work.newest(feed), ends[feed.target]
            if newest is None or end is None:
                continue
            at = source.at_of(feed, newest[0])
            if (0 < end < newest[0]) or (at is not None and at != newest[1]):
                log.warning("snapshot.rebuild", reason=f"{feed.table.name} is not the table of the last export")
                return True
    return False


@dataclasses.dataclass(slots=True, kw_only=True)
class Loader:
    """One load into an open work file. `deadline` is of the monotonic clock; `require_room` is asked before writing."""

    work: WorkFile
    database: Database
    retention_days: int
    exported_at: datetime
    deadline: float | None
    on_progress: Progress
    require_room: Callable[[int], None]

    def load(self, ends: Ends) -> Loaded:
        """Take everything up to the given ids, until the deadline."""
        added = changed = 0
        has_more = False
        for feed in FEEDS:
            end = ends[feed.target]
            is_large = end is not None and end - self.work.meta()[feed.watermark] > LARGE_LOAD_COUNT
            with reading(self.database, is_large=is_large) as source:
                changed += self._look_again(feed, source)
                if end is not None:
                    count, is_done = self._take(feed, source, end)
                    added += count
                    has_more = has_more or not is_done
        return Loaded(added=added, changed=changed, forgotten=self._forget(), has_more=has_more)

    def _take(self, feed: Feed, source: Source, end: int) -> tuple[int, bool]:
        """Rows up to `end`: how many, and whether all."""
        if self.work.meta()[feed.watermark] == 0 and end > 0:
            self._start(feed, source)
        after = first = self.work.meta()[feed.watermark]
        if end > after:
            self.require_room(2 * (end - after) * _ROW_BYTES + self.work.path.stat().st_size)
        added = 0
        while after < end:
            if self.deadline is not None and time.monotonic() > self.deadline:
                return added, False
            until = min(after + source.chunk_ids, end)
            rows = source.between(feed, after, until)
            self.work.add(feed, rows, watermark=until, exported_at=self.exported_at)
            added += rows.num_rows
            after = until
            self.on_progress(after - first, end - first)
        return added, True

    def _look_again(self, feed: Feed, source: Source) -> int:
        """Rows that were open when they were exported: an operator's action under way, a run of an AI job."""
        ids = self.work.open_ids(feed, self.exported_at)
        chunks = [ids[start : start + _OPEN_CHUNK] for start in range(0, len(ids), _OPEN_CHUNK)]
        return sum(
            self.work.replace(feed, source.by_ids(feed, chunk), exported_at=self.exported_at) for chunk in chunks
        )

    def _start(self, feed: Feed, source: Source) -> None:
        newest = source.newest_at(feed)
        if newest is not None:
            kept_from = self._kept_from(newest)
            first_id = source.first_id_since(feed, kept_from)
            if first_id is not None:
                # What SQL has pruned was there, and is not known any more.
                kept_from = max(kept_from, source.pruned_until(feed) or kept_from)
                self.work.start_at(feed, first_id - 1, kept_from, exported_at=self.exported_at)

    def _forget(self) -> int:
        newest = self.work.newest(AUDIT)
        if newest is None:
            return 0
        return self.work.forget_before(self._kept_from(newest[1]), exported_at=self.exported_at)

    def _kept_from(self, newest: datetime) -> datetime:
        """A midnight (UTC), so that rows leave once a day. A clock that runs ahead must not empty the snapshot."""
        day = min(newest, self.exported_at).replace(hour=0, minute=0, second=0, microsecond=0)
        return day - timedelta(days=self.retention_days)
