"""Whether Redis answers: one short question at a time, so that pages can say so long before a command times out."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Final

import structlog
from redis.exceptions import RedisError

from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, connect

log = structlog.get_logger("teknav.api")

_PAUSE_SECONDS: Final = 0.5
#: A frozen server is noticed after two of these: well within the five seconds in which a page says so.
_TIMEOUT_SECONDS: Final = 1.0
#: One lost answer may be a hiccup.
_MISSES: Final = 2
_STOP_SECONDS: Final = 5.0


class RedisWatch:
    """Asks for one small key, again and again, on a connection of its own. Thread-safe."""

    def __init__(self, url: str, *, timeout_seconds: float = _TIMEOUT_SECONDS) -> None:
        self._open: Callable[[], Client] = lambda: connect(url, timeout_seconds=timeout_seconds, retry_count=0)
        self._client: Client | None = None
        self._misses = 0
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_away(self) -> bool:
        """Whether the last two questions went without an answer."""
        return self._misses >= _MISSES

    def check(self) -> None:
        """Ask once."""
        try:
            if self._client is None:
                self._client = self._open()
            self._client.get(keys.lease("scheduler"))
        except Exception as error:
            if not isinstance(error, OUTAGE_ERRORS) and isinstance(error, RedisError):
                self._misses = 0
                return
            self._misses += 1
            if self._misses == _MISSES:
                log.warning("redis.away", error=f"{type(error).__name__}: {error}")
            return
        if self.is_away:
            log.info("redis.back")
        self._misses = 0

    def start(self) -> None:
        """Begin to ask; again after `stop`, too."""
        if self._thread is None:
            self._stopped.clear()
            self._thread = threading.Thread(target=self._work, name="redis-watch", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(_STOP_SECONDS)
            self._thread = None
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
            self._client = None

    def _work(self) -> None:
        while not self._stopped.wait(_PAUSE_SECONDS):
            self.check()
