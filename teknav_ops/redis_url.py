"""Which Redis: the one the settings name, else the embedded Valkey of the data folder."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from teknav_ops.settings import Settings

#: Longest path that a unix socket may have on Linux and macOS, with room for the final zero.
_SOCKET_PATH_LIMIT = 100


def find_redis_url(settings: Settings) -> str:
    """The URL to connect to."""
    return settings.redis_url or f"unix://{embedded_socket(settings)}"


def embedded_socket(settings: Settings) -> Path:
    """The embedded Valkey's socket: no port is opened, and only this user may connect.

    Where the data folder lies too deep for a socket's name, the socket stands in the temporary folder.
    """
    path = (settings.data_dir / "valkey" / "valkey.sock").absolute()
    if len(str(path)) <= _SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"teknav-{digest}" / "valkey.sock"
