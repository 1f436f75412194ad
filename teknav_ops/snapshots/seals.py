"""Seals: what a snapshot was when it was published, in a small file beside it, so that damage is noticed.

Who opens a file compares its checksum, once in each process: a file may be damaged and keep its size and time. What
has no seal that can be read is nobody's word: who opens it reads all of it, and the exporter publishes another.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
from pathlib import Path

from teknav_ops.durable_files import write_whole


@dataclasses.dataclass(frozen=True, slots=True)
class _Seal:
    sha256: str
    size_bytes: int
    modified_ns: int


def seal(file: Path, name: Path) -> None:
    """Seal a finished file that will be given this name. Raises OSError."""
    found = file.stat()
    facts = _Seal(_sha256(file), found.st_size, found.st_mtime_ns)
    write_whole(seal_path(name), json.dumps(dataclasses.asdict(facts)), mode=0o600)


def seal_path(snapshot: Path) -> Path:
    """Where the seal of a snapshot lies."""
    return snapshot.with_suffix(".seal")


def is_as_published(snapshot: Path, *, is_read: bool = True) -> bool | None:
    """Whether a snapshot is what was published; None where nobody knows, since it has no seal that can be read.

    Each process reads it once for that; not `is_read`: only if its time says that somebody has touched it.

    Raises:
        OSError: the snapshot cannot be read, or is gone.
    """
    try:
        known = _Seal(**json.loads(seal_path(snapshot).read_text()))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    found = snapshot.stat()
    if found.st_size != known.size_bytes:
        return False
    is_touched = found.st_mtime_ns != known.modified_ns
    if not is_read and not is_touched:
        return True
    if _sha256_of(snapshot, found.st_ino, found.st_mtime_ns) == known.sha256:
        return True
    if not is_touched:
        # A disk that lost a block keeps the file's time. With another, whoever publishes notices, too.
        with contextlib.suppress(OSError):
            os.utime(snapshot)
    return False


@functools.lru_cache(maxsize=64)
def _sha256_of(snapshot: Path, _inode: int, _modified_ns: int) -> str:
    """The checksum, computed once while the file stays what it was."""
    return _sha256(snapshot)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
