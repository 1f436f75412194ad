"""Files that are there whole or not at all, also after a power cut; and locks that go with their process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

#: What is to stay free on a disk, for the server and the database that go on writing there.
RESERVE_BYTES: Final = 64 * 1024 * 1024
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})


def write_whole(path: Path, content: bytes | str, *, drafts: Path | None = None, mode: int | None = None) -> None:
    """Write a file (text as UTF-8) so that no reader sees a part of it, also where two write at once.

    The draft lies in `drafts`, on the same file system, or beside the file; folders must be there. With `mode`, that
    is who may open it, whatever the umask.
    """
    draft = (drafts or path.parent) / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with draft.open("wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
def new_file(path: Path, *, mode: int) -> Iterator[BinaryIO]:
    """A new file to write, which has its name once the block has ended, and before that none that anybody looks for.

    Raises:
        FileExistsError: there is one of this name, before or by now; it stays as it is.
        OSError: the file cannot be made or written; nothing is left of it.
    """
    if os.path.lexists(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    draft = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _name(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def _name(draft: Path, path: Path) -> None:
    """Unlike a rename, a link replaces nothing; some file systems, as of sticks, have none."""
    try:
        os.link(draft, path)
    except OSError as error:
        if error.errno not in _NO_LINKS or os.path.lexists(path):
            raise
        draft.rename(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut: without it a rename may be undone."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def free_bytes(folder: Path) -> int:
    """How much this user may still write in a folder, or where it would be made."""
    folder = folder.absolute()
    return shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free


def try_lock(descriptor: int) -> bool:
    """Lock an open file for this process; False where another holds it. The lock ends when the file is closed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
