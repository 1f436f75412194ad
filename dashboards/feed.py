"""The feed: one listener per process tells every open page what happened, and wakes those whose time has come."""

from __future__ import annotations

import threading
from typing import Any, Final

from dashboards.open_page import OpenPage
from dashboards.reads import SharedReads
from teknav_ops.api.redis_watch import RedisWatch

_TICK_SECONDS: Final = 0.1


class Feed:
    """Open pages come and go; `heard` is called for each event, from the thread that listens."""

    def __init__(self, reads: SharedReads, watch: RedisWatch) -> None:
        self._reads = reads
        self._watch = watch
        self._pages: set[OpenPage] = set()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._ticker = threading.Thread(target=self._tick, name="dashboard-feed", daemon=True)

    def start(self) -> None:
        """Begin to wake pages."""
        self._ticker.start()

    def stop(self) -> None:
        """Wake nobody any more."""
        self._stopped.set()

    @property
    def page_count(self) -> int:
        """How many pages are open."""
        return len(self._pages)

    def join(self, page: OpenPage) -> None:
        """A page was opened."""
        with self._lock:
            self._pages.add(page)

    def leave(self, page: OpenPage) -> None:
        """A page was closed."""
        with self._lock:
            self._pages.discard(page)

    def heard(self, event: Any) -> None:
        """Something happened."""
        self._reads.changed(getattr(event, "queue", None))
        for page in self._open_pages():
            page.heard(event)

    def _open_pages(self) -> list[OpenPage]:
        with self._lock:
            return list(self._pages)

    def _tick(self) -> None:
        while not self._stopped.wait(_TICK_SECONDS):
            is_away = self._watch.is_away
            for page in self._open_pages():
                page.note_redis(is_away=is_away)
                page.refresh_when_due()
