"""Reading workers: which processes there are, and what each runs now."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from teknav_ops.jobs.paging import read_fields
from teknav_ops.jobs.queries import HEARTBEAT_MS
from teknav_ops.jobs.record import STUCK_FIELDS, moment, started_at_ms, stuck_moment
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.topology import Topology

#: Jobs looked at per queue: more than that do not run at once.
_ACTIVE_LIMIT: Final = 1_000
_FIELDS: Final = ("worker", "name", "fetched_at_ms", "progress", "progress_note", *STUCK_FIELDS)


@dataclasses.dataclass(frozen=True, slots=True)
class HeldJob:
    """A job that a worker holds now."""

    queue: str
    job_id: str
    name: str
    worker: str
    started_at: datetime | None
    progress: float | None
    progress_note: str | None
    #: Since when it is known to run long past its time limit.
    stuck_at: datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerProcess:
    """One worker process. What it said of itself is None where it runs an older version."""

    id: str
    host: str
    pid: int | None
    started_at: datetime | None
    last_heartbeat_at: datetime
    is_alive: bool
    thread_count: int | None
    queues: list[str]
    running: list[HeldJob]


class WorkerQueries:
    """Everything that is asked of workers. Nothing here writes."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology

    def all(self) -> list[WorkerProcess]:
        """Every process that gave a sign of life lately, the living first; a few round trips."""
        beats, queues = self._heartbeats()
        held = self._held()
        words, now_ms = self._own_words(sorted(beats)), self._now_ms()
        found = [
            _process(name, beats[name], sorted(queues[name]), held.get(name, []), words[name], now_ms) for name in beats
        ]
        return sorted(found, key=lambda process: (not process.is_alive, process.id))

    def _heartbeats(self) -> tuple[dict[str, float], dict[str, set[str]]]:
        beats: dict[str, float] = {}
        queues: defaultdict[str, set[str]] = defaultdict(set)
        commands = [("ZRANGE", QueueKeys(queue).workers, 0, -1, "WITHSCORES") for queue in self._topology]
        for queue, answer in zip(self._topology, self._many(commands), strict=True):
            for name, at_ms in _pairs(answer):
                beats[name] = max(beats.get(name, 0.0), at_ms)
                queues[name].add(queue)
        return beats, queues

    def stuck(self) -> list[HeldJob]:
        """Every job that is known to run long past its time limit, the longest first; two round trips."""
        held = (job for jobs in self._held().values() for job in jobs if job.stuck_at is not None)
        return sorted(held, key=lambda job: (job.stuck_at, job.job_id))

    def key_ids(self) -> dict[str, list[str]]:
        """Of living processes the ids of their secret keys, the one that encrypts first; but for older versions."""
        beats, _ = self._heartbeats()
        names = sorted(name for name in beats if self._now_ms() - beats[name] <= HEARTBEAT_MS)
        return {name: list(words["key_ids"]) for name, words in self._own_words(names).items() if words.get("key_ids")}

    def _held(self) -> dict[str, list[HeldJob]]:
        commands = [("ZRANGE", QueueKeys(queue).active, 0, _ACTIVE_LIMIT - 1) for queue in self._topology]
        places = [
            (queue, job_id)
            for queue, ids in zip(self._topology, self._many(commands), strict=True)
            for job_id in ids
        ]  # fmt: skip
        rows = read_fields(self._client, [QueueKeys(queue).job(job_id) for queue, job_id in places], _FIELDS)
        held: defaultdict[str, list[HeldJob]] = defaultdict(list)
        for (queue, job_id), row in zip(places, rows, strict=True):
            if row.get("worker"):
                held[row["worker"]].append(_held_job(queue, job_id, row))
        return held

    def _own_words(self, names: list[str]) -> dict[str, dict[str, Any]]:
        answers = self._many([("GET", keys.worker(name)) for name in names])
        return {name: _parsed(answer) for name, answer in zip(names, answers, strict=True)}

    def _now_ms(self) -> float:
        # Heartbeats are by the server's clock.
        seconds, micros = self._client.execute_command("TIME")
        return float(seconds) * 1000 + float(micros) / 1000

    def _many(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if is_cluster(self._client):
            return [self._client.execute_command(*command) for command in commands]
        pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return pipeline.execute()


def _pairs(answer: Any) -> list[tuple[str, float]]:
    if answer and isinstance(answer[0], tuple | list):
        return [(name, float(score)) for name, score in answer]
    return [(name, float(score)) for name, score in zip(answer[::2], answer[1::2], strict=True)]


def _parsed(text: str | None) -> dict[str, Any]:
    try:
        words = json.loads(text or "{}")
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


def _held_job(queue: str, job_id: str, row: Mapping[str, str]) -> HeldJob:
    begun = started_at_ms(row, is_active=True)
    progress = row.get("progress")
    return HeldJob(
        queue, job_id, row.get("name", ""), row["worker"], moment(begun),
        None if progress is None else float(progress), row.get("progress_note"), stuck_moment(row),
    )  # fmt: skip


def _process(
    name: str, beat_ms: float, queues: list[str], held: list[HeldJob], words: Mapping[str, Any], now_ms: float
) -> WorkerProcess:  # fmt: skip
    host, _, pid = name.rpartition(":")
    beat = moment(beat_ms)
    assert beat is not None
    return WorkerProcess(
        id=name,
        host=host or name,
        pid=int(pid) if pid.isdigit() else None,
        started_at=moment(words.get("started_at_ms")),
        last_heartbeat_at=beat,
        is_alive=now_ms - beat_ms <= HEARTBEAT_MS,
        thread_count=words.get("thread_count"),
        queues=queues,
        running=held,
    )
