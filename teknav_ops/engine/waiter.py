"""The waiter: one blocked connection per process hears who rings for any of its queues (on a Cluster, one per slot).

A token on a queue's wake list is for one worker process. The waiter takes it for a lane that waits, or could take a job
beside those that it is taking; else it puts the token back for another process, and leaves the lane out until it waits
again. Once a tick it also asks, in one command, whether anything lies in the queues of waiting lanes: a token may be
lost with the process that took it, and what another process was told to fall due may be ours to fetch. On a Cluster of
hundreds of slots a tick is longer.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from redis.exceptions import ResponseError

from teknav_ops.engine.lane import Desk, Lane
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, Client, is_cluster
from teknav_ops.redis_state.presence import is_any_present, which_are_present
from teknav_ops.redis_state.scripts import ScriptRunner

log = structlog.get_logger("teknav.engine")

_OUTAGE_PAUSE_SECONDS: Final = 0.5
#: How long the token that wakes a waiter is kept, should its process have died.
_TOKEN_KEPT_MS: Final = 60_000
#: On a Cluster each slot is looked at by itself. The more there are, the longer their ticks: commands do not grow.
_SLOTS_OF_A_TICK: Final = 10
_LONGEST_TICK_SECONDS: Final = 20.0
#: To take from a list is a write: a server that takes none at the moment refuses it too.
_REFUSALS: Final[tuple[type[Exception], ...]] = (*OUTAGE_ERRORS, ResponseError)


def longest_block_seconds(client: Client, tick_seconds: float) -> float:
    """For how long a waiter's client may block."""
    return max(tick_seconds, _LONGEST_TICK_SECONDS) if is_cluster(client) else tick_seconds


class Waiter:
    """Lanes wait here for work."""

    def __init__(self, client: Client, runner: ScriptRunner, desk: Desk, *, tick_seconds: float) -> None:
        self._client = client
        self._runner = runner
        self._desk = desk
        self._tick_seconds = tick_seconds
        self._lock = threading.Lock()
        self._slots: dict[int, _SlotWaiter] = {}

    def wait(self, lane: Lane, seconds: float) -> None:
        """Return when the lane may have work, or time is up."""
        self._slot_of(lane).wait(lane, seconds)

    def close(self) -> None:
        """Stop listening."""
        for slot in self._slots.values():
            slot.close()

    @property
    def tick_seconds(self) -> float:
        """How long a slot's waiter blocks before it looks by itself."""
        share = len(self._slots) / _SLOTS_OF_A_TICK
        return max(self._tick_seconds, min(_LONGEST_TICK_SECONDS, self._tick_seconds * share))

    def _slot_of(self, lane: Lane) -> _SlotWaiter:
        cluster: Any = self._client if is_cluster(self._client) else None
        number = cluster.keyslot(lane.keys.wake) if cluster else 0
        with self._lock:
            if number not in self._slots:
                self._slots[number] = _SlotWaiter(self, self._client, self._runner, self._desk, lane)
            return self._slots[number]


class _SlotWaiter:
    """The thread that blocks for the lanes of one slot; `first` is any of them."""

    def __init__(self, whole: Waiter, client: Client, runner: ScriptRunner, desk: Desk, first: Lane) -> None:
        self._whole = whole
        self._client = client
        self._runner = runner
        self._desk = desk
        self._own_list = first.keys.waiter(secrets.token_hex(8))
        self._lock = threading.Lock()
        #: By wake list, all that have waited here. The list changes as one, under the lock.
        self._lanes: dict[str, Lane] = {}
        self._waiting: set[Lane] = set()
        self._left_out: set[Lane] = set()
        #: Those for which it blocks at the moment; None while it does not, or was told to begin anew.
        self._heard: set[Lane] | None = None
        #: Lanes where something lay at the last look: they are asked for one by one.
        self._filled: set[Lane] = set()
        self._look_at = 0.0
        self._was_unreachable = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teknav-waiter", daemon=True)
        self._thread.start()

    def wait(self, lane: Lane, seconds: float) -> None:
        """Return when the lane may have work, or time is up."""
        with self._lock:
            self._lanes[lane.keys.wake] = lane
            self._waiting.add(lane)
            self._left_out.discard(lane)
            is_unheard = self._heard is not None and lane not in self._heard
            if is_unheard:
                self._heard = None
        if is_unheard:
            self._begin_anew()
        lane.bell.wait(seconds)
        with self._lock:
            self._waiting.discard(lane)

    def close(self) -> None:
        """Stop listening."""
        self._stopped.set()
        self._begin_anew()
        self._thread.join(timeout=1)

    def _begin_anew(self) -> None:
        """Have it block anew, for what it listens for now; where that cannot be told, it does at the next tick."""
        self._send(scripts.ring(self._own_list, ttl_ms=_TOKEN_KEPT_MS))

    def _send(self, call: scripts.Call[bool]) -> None:
        try:
            self._runner.run(call)
        except _REFUSALS as error:
            self._note_outage(error)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._look()
                self._block()
                self._note_reachable()
            except _REFUSALS as error:
                self._note_outage(error)
                self._stopped.wait(_OUTAGE_PAUSE_SECONDS)
            except Exception:
                log.exception("waiter.failed")
                self._stopped.wait(_OUTAGE_PAUSE_SECONDS)

    def _block(self) -> None:
        with self._lock:
            self._heard = {lane for lane in self._lanes.values() if lane not in self._left_out}
            lists = [wake for wake, lane in self._lanes.items() if lane in self._heard]
        try:
            seconds = max(0.01, self._look_at - time.monotonic())
            taken = self._client.blpop([self._own_list, *lists], timeout=seconds)
        finally:
            with self._lock:
                self._heard = None
        lane = self._lanes.get(taken[0]) if taken else None
        if lane is not None:
            self._hear(lane)

    def _hear(self, lane: Lane) -> None:
        with self._lock:
            is_taken = not self._desk.is_closing.is_set() and (
                lane in self._waiting or (not lane.bell.is_set() and self._desk.has_place(lane))
            )
            if is_taken:
                self._wake(lane)
            else:
                self._left_out.add(lane)
            # Whoever rings all the time has the others served first the next time.
            self._lanes[lane.keys.wake] = self._lanes.pop(lane.keys.wake)
        if not is_taken:
            self._send(scripts.ring(lane.keys.wake))

    def _wake(self, lane: Lane) -> None:
        self._waiting.discard(lane)
        lane.bell.set()

    def _look(self) -> None:
        """Once a tick, wake the waiting lanes in whose queues anything lies: waiting, due, or due some day."""
        if time.monotonic() < self._look_at:
            return
        with self._lock:
            waiting = set(self._waiting)
        quiet = [lane for lane in waiting if lane not in self._filled]
        filled = self._those_with([lane for lane in waiting if lane in self._filled])
        if is_any_present(self._client, map(_places, quiet)):
            filled |= self._those_with(quiet)
        self._filled = filled
        self._look_at = time.monotonic() + self._whole.tick_seconds
        with self._lock:
            for lane in filled & self._waiting:
                self._wake(lane)

    def _those_with(self, lanes: Sequence[Lane]) -> set[Lane]:
        present = which_are_present(self._client, [_places(lane) for lane in lanes])
        return {lane for lane, is_present in zip(lanes, present, strict=True) if is_present}

    def _note_outage(self, error: Exception) -> None:
        if not self._was_unreachable:
            self._was_unreachable = True
            log.warning("redis.unreachable", queues=len(self._lanes), error=str(error))

    def _note_reachable(self) -> None:
        if self._was_unreachable:
            self._was_unreachable = False
            log.info("redis.reachable", queues=len(self._lanes))


def _places(lane: Lane) -> Sequence[str]:
    return lane.keys.waiting, lane.keys.prioritized, lane.keys.delayed
