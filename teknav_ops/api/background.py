"""Batch replays that run in this process, whether or not anybody looks on.

Each process looks for replays that were started and that nobody runs: those just started, and those whose process
died. One process runs each, so any number of servers may look.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from teknav_ops.access.policy import Operator, Role
from teknav_ops.control import Control
from teknav_ops.errors import RedisUnavailable, StorageUnavailable, UnknownJob, WrongState
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client
from teknav_ops.replay_runner import ReplayRunner
from teknav_ops.replays import Replays

log = structlog.get_logger("teknav.background")

_LOOK_SECONDS: Final = 2.0
_THREAD_LIMIT: Final = 8
_STOP_SECONDS: Final = 10.0
_OUTAGES: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, RedisUnavailable, StorageUnavailable)


class BackgroundReplays:
    """Runs started batch replays in threads of this process."""

    def __init__(
        self, client: Client, replays: Replays, control_of: Callable[[Operator], Control], *,
        look_seconds: float = _LOOK_SECONDS,
    ) -> None:  # fmt: skip
        self._client = client
        self._replays = replays
        self._control_of = control_of
        self._look_seconds = look_seconds
        self._stopped = threading.Event()
        self._nudged = threading.Event()
        self._running: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._looker: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look."""
        if self._looker is None:
            self._stopped.clear()
            self._looker = threading.Thread(target=self._look_on, name="replays-looker", daemon=True)
            self._looker.start()

    def stop(self) -> None:
        """Stop after the chunks under way. What is left is taken up by another process, or after the next start."""
        self._stopped.set()
        self._nudged.set()
        with self._lock:
            threads = [*self._running.values(), *([self._looker] if self._looker else [])]
        for thread in threads:
            thread.join(_STOP_SECONDS)
        self._looker = None

    def look(self) -> None:
        """Look now: something was started."""
        self._nudged.set()

    @property
    def running_count(self) -> int:
        """How many this process runs."""
        return len(self._running)

    def _look_on(self) -> None:
        while not self._stopped.is_set():
            self._nudged.clear()
            try:
                self._take_up()
            except _OUTAGES as error:
                log.warning("replays.waiting", error=str(error))
            except Exception:
                log.exception("replays.look_failed")
            self._nudged.wait(self._look_seconds)

    def _take_up(self) -> None:
        for queue, replay_id in self._replays.running():
            if self._stopped.is_set() or len(self._running) >= _THREAD_LIMIT:
                return
            if replay_id in self._running:
                continue
            runner = ReplayRunner(self._client, self._replays)
            if runner.is_free(queue, replay_id):
                thread = threading.Thread(
                    target=self._run, args=(runner, queue, replay_id), name=f"replay-{replay_id}", daemon=True
                )
                with self._lock:
                    self._running[replay_id] = thread
                thread.start()

    def _run(self, runner: ReplayRunner, queue: str, replay_id: str) -> None:
        try:
            replay = self._replays.get(queue, replay_id)
            # Whoever started it was an owner then; it goes on under that name.
            operator = Operator(replay.started_by or replay.operator, Role.OWNER)
            done = self._control_of(operator).run_replay(queue, replay_id, runner=runner, stopped=self._stopped)
            log.info("replay.ran", replay=replay_id, queue=queue, state=done.state, replayed=done.replayed_count)
        except (UnknownJob, WrongState) as error:
            log.info("replay.over", replay=replay_id, queue=queue, error=str(error))
        except _OUTAGES as error:
            log.warning("replay.interrupted", replay=replay_id, queue=queue, error=str(error))
        except Exception:
            log.exception("replay.failed", replay=replay_id, queue=queue)
        finally:
            with self._lock:
                self._running.pop(replay_id, None)
