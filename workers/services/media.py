"""Stored files: originals are read, variants are written whole or not at all."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

from teknav_ops.errors import PermanentError, TransientError


class UnsafePath(PermanentError):
    """A stored path leads outside the media folder."""


class StorageFailed(TransientError):
    """The media folder could not be read or written."""


class MediaStore:
    """A folder with originals and content-addressed variants."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def path(self, stored: str) -> Path:
        """The file behind a stored path. Raises UnsafePath."""
        path = (self._root / stored).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise UnsafePath(f"storage_path: {stored!r} leads outside the media folder")
        return path

    def read(self, stored: str, *, limit_bytes: int) -> bytes:
        """An original's bytes, one more than the limit at most. Raises StorageFailed or UnsafePath."""
        try:
            with self.path(stored).open("rb") as file:
                return file.read(limit_bytes + 1)
        except OSError as error:
            raise StorageFailed(f"{stored}: {error.strerror}") from error

    def put(self, content: bytes, *, folder: str, suffix: str) -> str:
        """Store bytes under the hash of their content; answers with the stored path.

        The name appears only when the file is complete and on disk. Storing twice is harmless.
        """
        digest = hashlib.sha256(content).hexdigest()
        stored = f"{folder}/{digest[:2]}/{digest[:32]}.{suffix}"
        path = self.path(stored)
        if path.exists():
            return stored
        draft = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise StorageFailed(f"{stored}: {error.strerror}") from error
        return stored
