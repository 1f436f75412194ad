"""Stored files: originals are read, variants are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from pathlib import Path
from typing import Final

from teknav_ops.durable_files import write_whole
from teknav_ops.errors import Away, PermanentError, TransientError
from teknav_ops.private_files import READABLE_FILE, public_folder

#: No later attempt will find a file of that name.
_NO_SUCH_NAME: Final = frozenset({errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP})
#: Passes when somebody makes room, which a few attempts do not wait for.
_TAKES_NOTHING: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
#: Far longer than any write takes: a draft of this age was left by a worker that died.
STALE_SECONDS: Final = 3_600.0


class UnsafePath(PermanentError):
    """A stored path leads outside the media folder, or to something that is no file."""


class StorageFailed(TransientError):
    """The media folder could not be read or written."""


class MediaDiskFull(StorageFailed, Away):
    """The disk of the media folder takes nothing more: it is full, or was made read-only."""


class MediaStore:
    """A folder with originals and content-addressed variants. It must be one file system, so that renames work."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def path(self, stored: str) -> Path:
        """The file behind a stored path. Raises UnsafePath."""
        try:
            path = (self._root / stored).resolve()
        except (ValueError, RuntimeError) as error:
            raise UnsafePath(f"storage_path: {stored!r}: {error}") from None
        if not path.is_relative_to(self._root.resolve()):
            raise UnsafePath(f"storage_path: {stored!r} leads outside the media folder")
        return path

    def read(self, stored: str, *, limit_bytes: int) -> bytes:
        """An original's bytes, one more than the limit at most. Raises StorageFailed or UnsafePath."""
        try:
            path = self.path(stored)
            if path.exists() and not path.is_file():
                # A pipe would be waited for, for ever.
                raise UnsafePath(f"storage_path: {stored!r} is no file; correct the File row")
            with path.open("rb") as file:
                return file.read(limit_bytes + 1)
        except OSError as error:
            if error.errno in _NO_SUCH_NAME:
                raise UnsafePath(f"storage_path: {stored[:100]!r}: {error.strerror}") from None
            raise StorageFailed(f"{stored}: {error.strerror}") from error

    def put(self, content: bytes, *, folder: str, suffix: str) -> str:
        """Store bytes under the hash of their content; answers with the stored path.

        The name appears only when the file is complete and on disk. Storing twice is harmless.

        Raises:
            MediaDiskFull: its disk takes nothing more.
            StorageFailed: the folder cannot be written.
            UnsafePath: the folder leads outside.
        """
        digest = hashlib.sha256(content).hexdigest()
        stored = f"{folder}/{digest[:2]}/{digest[:32]}.{suffix}"
        path = self.path(stored)
        try:
            if not path.exists():
                self._write_whole(content, path)
        except OSError as error:
            kind = MediaDiskFull if error.errno in _TAKES_NOTHING else StorageFailed
            raise kind(f"{stored}: {error.strerror}") from error
        return stored

    def stale_drafts(self, *, older_than_seconds: float = STALE_SECONDS) -> list[Path]:
        """What workers that died while writing have left behind. Raises StorageFailed."""
        limit = time.time() - older_than_seconds
        try:
            return [path for path in self._drafts.iterdir() if path.stat().st_mtime <= limit]
        except FileNotFoundError:
            # No folder yet, or a draft that was finished meanwhile: nothing that cannot wait.
            return []
        except OSError as error:
            raise StorageFailed(f"{self._drafts.name}: {error.strerror}") from error

    def remove_stale_drafts(self, *, older_than_seconds: float = STALE_SECONDS) -> int:
        """Remove them; answers how many went. Cheap: all drafts lie in one folder. Raises StorageFailed."""
        count = 0
        for path in self.stale_drafts(older_than_seconds=older_than_seconds):
            # One that cannot be removed does no harm, and must not stop the job.
            with contextlib.suppress(OSError):
                path.unlink()
                count += 1
        return count

    @property
    def _drafts(self) -> Path:
        return self._root / "drafts"

    def _write_whole(self, content: bytes, path: Path) -> None:
        # What readers of the publication are shown: the web server that hands it out is another user.
        for folder in (self._drafts, path.parent):
            public_folder(folder, root=self._root)
        # The row that names the file is written after it, and must not survive it in a power cut.
        write_whole(path, content, drafts=self._drafts, mode=READABLE_FILE)
