"""Room on the disk: asked for before anything is written, and understood when it runs out all the same."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from teknav_ops.durable_files import RESERVE_BYTES
from teknav_ops.errors import SnapshotDiskFull
from teknav_ops.snapshots.extra import duckdb

_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_TEXTS: Final = ("no space left", "disk quota", "file too large", "not enough disk", "out of disk")


def require_room(folder: Path, needed_bytes: int, *, reserve_bytes: int = RESERVE_BYTES) -> None:
    """Raise SnapshotDiskFull unless so much, and the reserve, is free."""
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < needed_bytes + reserve_bytes:
        raise SnapshotDiskFull(
            f"snapshot_dir: {folder} has {free_bytes:,} bytes free and the next snapshot needs "
            f"{needed_bytes + reserve_bytes:,}. The snapshots that exist are intact. Make room, set "
            "TEKNAV_SNAPSHOT_DIR to a larger disk, or lower TEKNAV_SNAPSHOT_RETENTION_DAYS."
        )


@contextlib.contextmanager
def watching_for_a_full_disk(folder: Path) -> Iterator[None]:
    """Turn what the block raises when a write finds no room into SnapshotDiskFull."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        if not _is_full(error):
            raise
        free_bytes = shutil.disk_usage(folder).free
        raise SnapshotDiskFull(
            f"snapshot_dir: the disk of {folder} was full while a snapshot was written ({free_bytes:,} bytes are free "
            "now). The snapshots that exist are intact. Make room, or set TEKNAV_SNAPSHOT_DIR to a larger disk."
        ) from error


def _is_full(error: Exception) -> bool:
    text = str(error).lower()
    return getattr(error, "errno", None) in _FULL or any(known in text for known in _FULL_TEXTS)
