"""Duties: what the leading scheduler does again and again, each in a thread of its own."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Final

import structlog

from teknav_ops.errors import RedisUnavailable, StorageUnavailable
from teknav_ops.redis_state.connection import OUTAGE_ERRORS
from teknav_ops.runtime.leader import LeaderLease

log = structlog.get_logger("teknav.scheduler")

_OUTAGES: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, RedisUnavailable, StorageUnavailable)
_STANDBY_SECONDS: Final = 0.5
_OUTAGE_SECONDS: Final = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Duty:
    """One bounded step, `run`, begun every so many seconds while this process leads.

    A step that answers True has more to do and is run again at once. What it writes must be safe to
    write twice, or carry the leader's term: a process that slept through its lease may finish a step late.
    """

    name: str
    every_seconds: float
    run: Callable[[], bool | None]


class DutyThread:
    """Runs one duty while the lease is held. An outage is waited out; any other failure is logged, and tried again."""

    def __init__(self, duty: Duty, lease: LeaderLease) -> None:
        self._duty = duty
        self._lease = lease
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"duty-{duty.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no further step."""
        self._stopped.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the step under way."""
        self._thread.join(timeout_seconds)

    def _work(self) -> None:
        pause_seconds = 0.0
        while not self._stopped.wait(pause_seconds):
            pause_seconds = self._step() if self._lease.is_held else _STANDBY_SECONDS

    def _step(self) -> float:
        try:
            has_more = self._duty.run()
        except _OUTAGES as error:
            log.warning("duty.waiting", duty=self._duty.name, error=str(error))
            return _OUTAGE_SECONDS
        except Exception:
            # One broken duty must not end the others.
            log.exception("duty.failed", duty=self._duty.name)
            return max(_OUTAGE_SECONDS, self._duty.every_seconds)
        return 0.0 if has_more else self._duty.every_seconds
