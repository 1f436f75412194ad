"""What an error of DuckDB says of a file: that it is damaged, and not that the disk is full or the file in use."""

from __future__ import annotations

from typing import Any, Final

from teknav_ops.snapshots.extra import duckdb

#: Where DuckDB finds that a file's blocks are not what it wrote; it has no class of its own for that.
_WORDS: Final = (
    "not a valid duckdb",
    "corrupt",
    "checksum",
    "serializ",
    "version number",
    "does not exist",
    "could not read enough",
)
_KINDS: Final[tuple[type[Exception], ...]] = (
    duckdb.SerializationException,
    duckdb.InternalException,
    duckdb.FatalException,
)
#: What says more of who asks than of the file.
OF_WHO_ASKS: Final[tuple[type[Exception], ...]] = (
    duckdb.ConnectionException,
    duckdb.OutOfMemoryException,
    duckdb.InterruptException,
)
#: What a work file and a snapshot hold.
TABLES: Final = ("audit", "ai_run", "snapshot_meta")


def read_whole(connection: Any) -> None:
    """Read every column of every row: DuckDB looks at the checksum of a block only when it reads it.

    Raises:
        duckdb.Error: a block is damaged.
    """
    for table in TABLES:
        # The last value is known only once all have been read; counting them would read none.
        connection.execute(f"select last(columns(*)) from {table}").fetchall()


def tells_of_damage(error: Exception) -> bool:
    """Whether what was being read is damaged."""
    return isinstance(error, _KINDS) or any(known in str(error).lower() for known in _WORDS)
