"""The lease keeper: this process's heartbeat, and the one who takes back what dead workers left."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from teknav_ops.engine.failure import describe
from teknav_ops.engine.lane import Desk, Lane
from teknav_ops.errors import WorkerLost
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import OUTAGE_ERRORS, is_cluster
from teknav_ops.redis_state.presence import is_any_present, which_are_present
from teknav_ops.redis_state.scripts import Run, ScriptRunner
from teknav_ops.redis_state.server_clock import ServerClock, steady_seconds

log = structlog.get_logger("teknav.engine")

_RECLAIM_COUNT = 100
#: Heartbeats are forgotten after so many leases (extend_leases.lua), and what a process said of itself with them.
_WORDS_KEPT_LEASES = 20
#: A queue of which nothing is held hears so often, or after so many leases, that the process lives: twice before it
#: would count as silent (`HEARTBEAT_MS`).
_IDLE_BEAT_SECONDS = 30.0
_IDLE_BEAT_LEASES = 5
_MANY_LANES = 50
#: Time for Dramatiq to declare all queues after the first.
_FIRST_BEAT_SECONDS = 0.3


class LeaseKeeper:
    """Extends the leases of all lanes every third of a lease, and reclaims expired ones."""

    def __init__(
        self,
        runner: ScriptRunner,
        lanes: dict[str, Lane],
        desk: Desk,
        key_ids: Sequence[str],
        *,
        worker: str,
        lease_ms: int,
        lost_limit: int,
    ) -> None:
        self._runner = runner
        self._lanes = lanes
        self._desk = desk
        self._started_at_ms = int(time.time() * 1000)
        self._worker = worker
        self._key_ids = key_ids
        self._lease_ms = lease_ms
        self._lost_limit = lost_limit
        self._idle_beat_seconds = min(_IDLE_BEAT_SECONDS, _IDLE_BEAT_LEASES * lease_ms / 1000)
        #: When each lane's queue was last told that this process lives.
        self._told_at: dict[Lane, float] = {}
        self._beat_at = time.monotonic()
        self._reclaims_from = self._beat_at
        self._clocks: dict[str, ServerClock] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="teknav-lease-keeper", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the heartbeat."""
        self._stopped.set()
        self._thread.join(timeout=5)

    def _run(self) -> None:
        # The first beat comes early: a new worker shows up, and what a dead one left is taken up.
        pause_seconds = min(_FIRST_BEAT_SECONDS, self._lease_ms / 3_000)
        while not self._stopped.wait(pause_seconds):
            pause_seconds = self._lease_ms / 3_000
            try:
                self.beat()
            except OUTAGE_ERRORS as error:
                log.warning("redis.unreachable", error=str(error))
            except Exception:
                log.exception("lease_keeper.failed")

    def beat(self) -> None:
        """One heartbeat: a few round trips for all lanes."""
        lanes = self._due(list(self._lanes.values()))
        self._extend(lanes)
        if self._may_reclaim(time.monotonic()):
            self._reclaim(self._with_active_jobs(lanes))
        self._introduce()

    def _due(self, lanes: list[Lane]) -> list[Lane]:
        """All; on a Cluster, where each costs commands of its own, of hundreds only those that hold something, and the
        idle ones so often that they know that this process lives. What is reclaimed was looked at in the same beat."""
        if len(lanes) <= _MANY_LANES or not is_cluster(self._runner.client):
            return lanes
        idle_from = time.monotonic() - self._idle_beat_seconds
        return [lane for lane in lanes if lane.held or self._told_at.get(lane, idle_from) <= idle_from]

    def _may_reclaim(self, now: float) -> bool:
        # Who could not beat in time supposes that the others could not either: it was Redis, or the whole machine.
        # Leases that ran out meanwhile say nothing of who died, so the others get a lease's time to come back.
        lease_seconds = self._lease_ms / 1000
        if now - self._beat_at > 2 / 3 * lease_seconds:
            self._reclaims_from = now + lease_seconds
        self._beat_at = now
        return now >= self._reclaims_from

    def _introduce(self) -> None:
        """Say who this is, for the workers view; kept as long as the heartbeat."""
        words = {
            "started_at_ms": self._started_at_ms,
            "thread_count": self._desk.thread_count,
            "key_ids": self._key_ids,
        }
        self._runner.run(
            scripts.put_text(
                keys.worker(self._worker), text=json.dumps(words), ttl_ms=_WORDS_KEPT_LEASES * self._lease_ms
            )
        )

    def _extend(self, lanes: Sequence[Lane]) -> None:
        """Keep the leases of all that is held, and have every queue know from time to time that this process lives."""
        now, is_single = time.monotonic(), not is_cluster(self._runner.client)
        told = [lane for lane in lanes if is_single and not lane.held and lane in self._told_at]
        # At least one: its answer says that the server takes this beat, and what its clock says.
        others = [lane for lane in lanes if lane not in told] or sorted(told, key=lambda lane: self._told_at[lane])[:1]
        idle = [lane for lane in told if now - self._told_at[lane] >= self._idle_beat_seconds and lane not in others]
        at_ms = self._extend_leases(others)
        if at_ms is not None:
            self._say_alive(idle, at_ms)
            self._told_at |= dict.fromkeys((*others, *idle), now)

    def _say_alive(self, lanes: Sequence[Lane], at_ms: int) -> None:
        """To queues of which nothing is held: one command each, since there may be hundreds."""
        pipeline = self._runner.client.pipeline(transaction=False)
        for lane in lanes:
            pipeline.execute_command("ZADD", lane.keys.workers, at_ms, self._worker)
        self._checked(pipeline.execute(raise_on_error=False) if lanes else [])

    def _extend_leases(self, lanes: Sequence[Lane]) -> int | None:
        """Answers the server's time, if any of its queues could be written to."""
        calls = [
            scripts.extend_leases(lane.keys, worker=self._worker, lease_ms=self._lease_ms, held=list(lane.held.items()))
            for lane in lanes
        ]
        asked, at_ms = steady_seconds(), None
        for lane, extended in zip(lanes, self._answers(calls), strict=True):
            if extended is None:
                continue
            at_ms = extended.at_ms
            self._watch_clock(lane.queue.name if is_cluster(self._runner.client) else "", at_ms, asked)
            # A finish may have been committed since the list was taken: only what is still held is lost.
            gone = [job_id for job_id in extended.lost if job_id in lane.held]
            if gone:
                log.warning("lease.lost", queue=lane.queue.name, job_ids=gone)
                lane.drop(gone)
        return at_ms

    def _watch_clock(self, of: str, at_ms: int, asked: float) -> None:
        """A server's clock that was set forward ends leases of workers that live: they get a lease's time to beat."""
        jump_ms = self._clocks.setdefault(of, ServerClock()).jump_ms(at_ms, asked, steady_seconds())
        if jump_ms:
            log.warning("server_clock.jumped", queue=of, by_seconds=round(jump_ms / 1000, 1))
        if jump_ms > self._lease_ms / 3:
            self._reclaims_from = time.monotonic() + self._lease_ms / 1000

    def _with_active_jobs(self, lanes: Sequence[Lane]) -> list[Lane]:
        client, places = self._runner.client, [(lane.keys.active,) for lane in lanes]
        if not is_cluster(client) and not is_any_present(client, places):
            return []
        return [lane for lane, is_present in zip(lanes, which_are_present(client, places), strict=True) if is_present]

    def _reclaim(self, lanes: Iterable[Lane]) -> None:
        lanes = list(lanes)
        calls = [
            scripts.reclaim(
                lane.keys, count=_RECLAIM_COUNT, lost_limit=self._lost_limit,
                lease_ms=self._lease_ms, worker=self._worker,
            )
            for lane in lanes
        ]  # fmt: skip
        for lane, reclaimed in zip(lanes, self._answers(calls), strict=True):
            if reclaimed and (reclaimed.returned_count or reclaimed.doomed):
                log.warning("lease.reclaimed", queue=lane.queue.name, count=reclaimed.returned_count,
                            dead_lettered=len(reclaimed.doomed))  # fmt: skip
                for job_id, delivery, last_worker in reclaimed.doomed:
                    self._bury(lane, job_id, delivery, last_worker)

    def _answers(self, calls: Sequence[scripts.Call[Any]]) -> list[Any]:
        return self._checked(self._runner.run_many(calls) if calls else [])

    def _checked(self, answers: list[Any]) -> list[Any]:
        for answer in answers:
            if isinstance(answer, OUTAGE_ERRORS):
                raise answer
            if isinstance(answer, Exception):
                log.error("lease_keeper.refused", error=str(answer))
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    def _bury(self, lane: Lane, job_id: str, delivery: int, last_worker: str) -> None:
        error = WorkerLost(f"its worker died {self._lost_limit} times while it ran; the last was {last_worker}")
        run = Run(job_id, delivery, 0, 0.0, "")
        failure = describe(run, error, attempt=self._lost_limit, worker=last_worker)
        self._runner.run(
            scripts.dead_letter(
                lane.keys, worker=self._worker, run=run, failure=failure, failed_kept=lane.queue.failed_kept
            )
        )
