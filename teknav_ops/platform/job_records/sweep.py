"""Looks at records that have not ended for long, and asks how their jobs stand.

For what the follower cannot see: a worker that was overtaken and wrote last, entries that Redis lost with its newest
writes, records from before there was a follower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import text

from teknav_ops.audit.lag import AuditLag
from teknav_ops.platform.job_records.changes import change_of, rows_where, write
from teknav_ops.platform.job_records.kind import Kind
from teknav_ops.platform.job_records.kinds import KINDS
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables.base import utc_now

LOOK_SECONDS: Final = 15.0
#: A record is looked at when nobody has written it for so long.
SILENT_SECONDS: Final = 120.0
#: Of each kind in one step.
_LIMIT: Final = 500
#: With more behind, the end of a job that Redis does not keep may not be in AuditLog yet.
_MOST_LAG_MS: Final = 30_000


class JobRecordSweep:
    """The duty. One thread may use it; others may do the same elsewhere."""

    def __init__(
        self,
        client: Client,
        database: Database,
        lag: Callable[[], Mapping[str, AuditLag | None]],
        *,
        kinds: Sequence[Kind] = KINDS,
    ) -> None:
        """`lag` is how far AuditLog is behind each queue, None where that is not known."""
        self._client = client
        self._database = database
        self._lag = lag
        self._kinds = kinds
        #: By table, up to which id this round has come.
        self._after: dict[str, int] = {}

    def step(self) -> None:
        """Look at a bounded number of each kind's; the next step goes on with those behind, and begins again.

        Raises:
            redis-py's errors of an outage, StorageUnavailable: what is left is looked at later.
        """
        lags = self._lag()
        for kind in self._kinds:
            found = [lags.get(queue) for queue in kind.queues]
            self._look(kind, knows_all=all(lag is not None and lag.oldest_age_ms < _MOST_LAG_MS for lag in found))

    def _look(self, kind: Kind, *, knows_all: bool) -> None:
        table, name = kind.table.__table__, kind.table.__tablename__
        after = self._after.get(name, 0)
        is_silent = table.c[kind.stamp] < utc_now() - timedelta(seconds=SILENT_SECONDS)
        rows = rows_where(self._database, kind, table.c.id > after, text(kind.unfinished), is_silent, limit=_LIMIT)
        change = change_of(self._client, self._database, kind, rows, may_be_gone=knows_all)
        if change.values:
            change.prepare(self._client, self._database)
            write(self._database, [change])
        self._after[name] = rows[-1].id if len(rows) == _LIMIT else 0
