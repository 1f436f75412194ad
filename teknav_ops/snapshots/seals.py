"""Seals: what a snapshot was when it was published, in a small file beside it, so that damage is noticed.

A file that has the size and the time of its seal is as it was published, and is not read for it. Any other is read, and
its checksum decides.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
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


def is_as_published(snapshot: Path) -> bool:
    """Whether a snapshot is what was published; so is one without a seal, of which nobody knows.

    Raises:
        OSError: it cannot be read, or is gone.
    """
    try:
        known = _Seal(**json.loads(seal_path(snapshot).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return True
    found = snapshot.stat()
    if found.st_size != known.size_bytes:
        return False
    return found.st_mtime_ns == known.modified_ns or _sha256(snapshot) == known.sha256


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
