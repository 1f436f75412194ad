"""Publishing: copy the work file, read the copy, seal it, and give it its name. The rename is the commit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

from teknav_ops.durable_files import sync_folder
from teknav_ops.errors import NoSnapshot
from teknav_ops.snapshots.extra import duckdb
from teknav_ops.snapshots.folder import SnapshotFolder
from teknav_ops.snapshots.open import open_file
from teknav_ops.snapshots.seals import is_as_published, seal
from teknav_ops.snapshots.work import remove_work_file_log, require_whole

_COPY_BYTES: Final = 64 * 1024 * 1024


def publish(folder: SnapshotFolder) -> Path:
    """Publish the closed work file as the next generation. Only under the folder's lock.

    Raises:
        duckdb.Error: a block of it is damaged; nothing was published.
    """
    temporary = folder.path / f".tmp-{os.getpid()}"
    try:
        _copy(folder.work_file, temporary)
        # A block may be damaged in a column that no export reads: none such is sealed.
        require_whole(temporary)
        path = folder.next_path()
        # Before it has its name: nobody meets it without.
        seal(temporary, path)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(folder.path)
    return path


def published_edition(folder: SnapshotFolder) -> str | None:
    """The edition of the newest snapshot; None when there is none, or it is damaged, or has no seal."""
    path = folder.newest()
    if path is None:
        return None
    try:
        if not is_as_published(path):
            return None
        with open_file(path) as snapshot:
            return snapshot.meta.edition
    except (NoSnapshot, duckdb.Error, OSError, TypeError):
        return None


def take_published(folder: SnapshotFolder) -> bool:
    """Begin the work file with what the newest snapshot holds: SQL may have pruned some of it since. Only under the
    folder's lock. False, and nothing is done, where that snapshot is not sound, or there is none.

    An older one is never taken: what was erased on purpose may stand in it.
    """
    if published_edition(folder) is None or (path := folder.newest()) is None:
        return False
    try:
        _copy(path, folder.work_draft)
    except FileNotFoundError:
        return False
    remove_work_file_log(folder.work_file)
    folder.work_draft.replace(folder.work_file)
    return True


def _copy(source: Path, target: Path) -> None:
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with source.open("rb") as reader, os.fdopen(descriptor, "wb") as writer:
        if not _copied_by_the_kernel(reader.fileno(), writer.fileno()):
            shutil.copyfileobj(reader, writer, _COPY_BYTES)
        writer.flush()
        os.fsync(writer.fileno())


def _copied_by_the_kernel(reader: int, writer: int) -> bool:
    """Copy without passing through this process; file systems that can share the blocks do so and copy nothing."""
    if not hasattr(os, "copy_file_range"):
        return False
    size, done = os.fstat(reader).st_size, 0
    while done < size:
        try:
            count = os.copy_file_range(reader, writer, min(size - done, 1 << 30))
        except OSError:
            if done:
                raise
            return False
        if count == 0:
            return False
        done += count
    return True
