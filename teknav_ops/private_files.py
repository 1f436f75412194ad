"""Files that are open to their owner only: what the processes of the system keep holds payloads, mails and keys.

Every process sets its umask, so each file and folder is private from its first moment; what a web server of another
user is to read is opened by name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_OTHERS: Final = 0o077
#: Of files that every user may read.
READABLE_FILE: Final = 0o644
_READABLE_FOLDER: Final = 0o755


def keep_files_private() -> None:
    """From now on, what this process and its children create is open to their user only."""
    os.umask(_OTHERS)


def private_folder(path: Path) -> Path:
    """The folder, made where it is missing, and closed to others where it was open and is ours."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _is_open(path):
        with contextlib.suppress(PermissionError):
            path.chmod(0o700)
    return path


def public_folder(path: Path, *, root: Path) -> None:
    """Make a folder below `root` that every user may read, with those between; one that was left private is opened."""
    is_new = not root.exists()
    path.mkdir(parents=True, exist_ok=True)
    for folder in (path, *path.parents):
        if folder == root and not is_new:
            break
        if folder.stat().st_mode & _READABLE_FOLDER != _READABLE_FOLDER:
            folder.chmod(_READABLE_FOLDER)
        if folder == root:
            break


def open_folders(folders: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """Those of these folders that other users of the machine may look into, with their mode such as `0755`."""
    for folder in folders:
        if folder.exists() and _is_open(folder):
            yield folder, f"{stat.S_IMODE(folder.stat().st_mode):04o}"


def _is_open(path: Path) -> bool:
    return bool(path.stat().st_mode & _OTHERS)
