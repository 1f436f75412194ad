"""What a kind of record is: a table whose rows say how a job's work stands."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy.orm import Session

from teknav_ops.platform.job_records.job_now import JobNow
from teknav_ops.redis_state.connection import Client
from teknav_ops.storage.database import Database
from teknav_ops.storage.tables import Base

#: New values by column; the same columns for each row of a kind.
Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A table whose rows, written under their job's id, say how its work stands.

    `facts_of` answers what a row (its `columns`, id, job_id and status) is to say of a job that stands so, None for
    what it says. `stamp` is a column that every write of a row moves, or the row's beginning where the status only
    moves on. `unfinished` holds for rows that will say more. `before` runs before the transaction of the change, with
    the ids of rows that are to say so by their new status; `told` runs in it. Both may run again, and of a row that
    somebody else has written meanwhile.
    """

    table: type[Base]
    queues: tuple[str, ...]
    columns: tuple[str, ...]
    stamp: str
    unfinished: str
    facts_of: Callable[[Any, JobNow], Facts | None]
    before: Callable[[Client, Database, Mapping[int, str]], None] = lambda _client, _database, _statuses: None
    told: Callable[[Session, Collection[int]], None] = lambda _session, _ids: None
