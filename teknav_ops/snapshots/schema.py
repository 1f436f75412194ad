"""What a snapshot file looks like: its version, its tables, and what it says of itself."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import Any, Final

#: Of schema.sql and of what feeds.py puts into it.
SCHEMA_VERSION: Final = 2
#: DuckDB 1.2 and everything after it reads this.
STORAGE_VERSION: Final = "v1.2.0"


def version_of(connection: Any) -> int:
    """The schema version; every version has that column. 0: it was never written."""
    row = connection.execute("select schema_version from snapshot_meta").fetchone()
    return int(row[0] or 0) if row else 0


def read_meta(connection: Any) -> dict[str, Any]:
    """The row of snapshot_meta, times in UTC."""
    # DuckDB 1 gives times with a zone only where pytz is installed; numbers it always gives.
    cursor = connection.execute(
        "select * replace (epoch_us(kept_from) as kept_from, epoch_us(exported_at) as exported_at) from snapshot_meta"
    )
    meta = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    return meta | {name: moment_of(meta[name]) for name in ("kept_from", "exported_at")}


def moment_of(microseconds: int) -> datetime:
    """Microseconds since the epoch as a time in UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)


@functools.cache
def statement(name: str) -> str:
    """The text of one of the .sql files beside this module."""
    return resources.files("teknav_ops.snapshots").joinpath(f"{name}.sql").read_text("utf-8")
