"""Going through a batch replay's frozen list: one runner at a time, at its rate, from wherever it stands.

Progress moves in the same script as the jobs, so whoever takes over after a crash does nothing twice and
counts nothing twice. A runner that is overtaken writes nothing more.
"""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from teknav_ops import frozen_lists
from teknav_ops.errors import WrongState
from teknav_ops.jobs.batch_replay import Replay
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import Client
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import BatchTurn, ScriptRunner
from teknav_ops.replays import KEPT_MS, Replays

_CHUNK: Final = 100
#: A runner silent for so long has died, and another may go on.
LEASE_MS: Final = 10_000
#: Longest sleep without renewing the lease, or noticing an abort.
_NAP_SECONDS: Final = 1.0


class ReplayRunner:
    """Runs batch replays in the calling thread. One object per run."""

    def __init__(self, client: Client, replays: Replays, *, lease_ms: int = LEASE_MS) -> None:
        self._client = client
        self._replays = replays
        self._scripts = ScriptRunner(client)
        self._lease_ms = lease_ms
        #: Whether it came to the end of a list.
        self.has_finished = False
        self.name = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

    def run(
        self, queue: str, replay_id: str, *, actor: str, on_progress: Callable[[Replay], None],
        stopped: threading.Event | None = None,
    ) -> Replay:  # fmt: skip
        """Replay the list from where it stands until its end, an abort, or `stopped`.

        While another process runs it, this one looks on, and goes on with it should the other die.

        Raises:
            WrongState: the batch replay has not been started.
        """
        keys, stopped = QueueKeys(queue), stopped or threading.Event()
        try:
            while (answer := self._hold(keys, replay_id)) in ("ours", "held") and not stopped.is_set():
                replay = self._replays.get(queue, replay_id)
                on_progress(replay)
                if answer == "held":
                    stopped.wait(_NAP_SECONDS)
                else:
                    self._turn(keys, replay, actor, stopped)
        finally:
            self._give_back(keys, replay_id)
        replay = self._replays.get(queue, replay_id)
        if replay.state == "previewed":
            raise WrongState(f"replay: {replay_id} has not been started")
        on_progress(replay)
        return replay

    def is_free(self, queue: str, replay_id: str) -> bool:
        """Whether it waits for a runner; takes it if so."""
        return self._hold(QueueKeys(queue), replay_id) == "ours"

    def _hold(self, keys: QueueKeys, replay_id: str) -> str:
        call = scripts.hold_replay(
            keys, replay_id, runner=self.name, lease_ms=self._lease_ms, kept_ms=KEPT_MS
        )  # fmt: skip
        return self._scripts.run(call)

    def _give_back(self, keys: QueueKeys, replay_id: str) -> None:
        self._scripts.run(scripts.hold_replay(keys, replay_id, runner=self.name, lease_ms=0, kept_ms=KEPT_MS))

    def _turn(self, keys: QueueKeys, replay: Replay, actor: str, stopped: threading.Event) -> None:
        """One chunk, and the pause that the rate asks for."""
        begun = time.monotonic()
        rate = replay.rate_per_second
        size = _CHUNK if rate is None else max(1, min(_CHUNK, int(rate)))
        count = self._replay_chunk(keys, replay, actor, size)
        if count == 0:
            call = scripts.move_replay(keys, replay.id, wanted="finished", by=self.name, kept_ms=KEPT_MS)
            _, self.has_finished = self._scripts.run(call)
        elif rate is not None and replay.done_count + count < replay.total_count:
            self._pause(keys, replay.id, begun + count / rate, stopped)

    def _replay_chunk(self, keys: QueueKeys, replay: Replay, actor: str, size: int) -> int:
        first = replay.done_count
        failures = frozen_lists.read(self._client, keys.replay_ids(replay.id), first, size)
        if failures:
            turn = BatchTurn(replay.id, self.name, first)
            idempotency_ms = self._replays.topology[keys.queue].idempotency_ms
            call = scripts.replay_dead_letters(
                keys, actor=actor, failures=failures, idempotency_ms=idempotency_ms, turn=turn
            )
            self._scripts.run(call)
        return len(failures)

    def _pause(self, keys: QueueKeys, replay_id: str, until: float, stopped: threading.Event) -> None:
        while (left := until - time.monotonic()) > 0:
            if stopped.wait(min(left, _NAP_SECONDS)) or self._hold(keys, replay_id) != "ours":
                return
