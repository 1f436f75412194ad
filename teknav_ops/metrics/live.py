"""Live metrics: each queue's numbers as of now, published to `teknav:queue:<queue>:stats`."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any, Final

from teknav_ops.jobs.sketch import PREFIX, quantile
from teknav_ops.redis_state import keys, scripts
from teknav_ops.redis_state.connection import Client, is_cluster
from teknav_ops.redis_state.keys import EVENTS_CHANNEL, QueueKeys
from teknav_ops.redis_state.scripts import QueueCounts, ScriptRunner
from teknav_ops.topology import Topology

#: Over how many minutes rate and durations are taken, the current one included.
WINDOW_MINUTES: Final = 5
PUBLISH_SECONDS: Final = 10.0
_KEPT_SECONDS: Final = 3_600
_HEARTBEAT_MS: Final = 60_000


def read_minutes(client: Client, queue: str, now_ms: int, minutes: int) -> Counter[str]:
    """The merged counters and sketch buckets of a queue's last minutes, over all its jobs."""
    names = QueueKeys(queue)
    last = now_ms // 60_000
    wanted = [names.minute(minute) for minute in range(last - minutes + 1, last + 1)]
    if is_cluster(client):
        hashes = [client.hgetall(key) for key in wanted]
    else:
        pipeline = client.pipeline(transaction=False)
        for key in wanted:
            pipeline.hgetall(key)
        hashes = pipeline.execute()
    merged: Counter[str] = Counter()
    for fields in hashes:
        for field, count in fields.items():
            merged[field.rpartition("|")[2]] += int(count)
    return merged


def queue_stats(counts: QueueCounts, minutes: Counter[str], now_ms: int) -> dict[str, Any]:
    """The published numbers. Rates are finished jobs per second; durations are those of all runs."""
    finished = minutes["completed"] + minutes["failed"]
    runs = finished + minutes["retried"]
    sketch = {field: count for field, count in minutes.items() if field[:1] == PREFIX}
    span_seconds = (WINDOW_MINUTES - 1) * 60 + now_ms // 1000 % 60 + 1

    def percentile(q: float) -> float | None:
        value = quantile(sketch, q)
        return None if value is None else round(value, 2)

    return {
        "waiting": 0 if counts.is_paused else counts.waiting,
        "paused": counts.waiting if counts.is_paused else 0,
        "active": counts.active,
        "completed": counts.completed,
        "failed": counts.failed,
        "delayed": counts.delayed,
        "dlq": counts.dlq,
        "workers": counts.workers,
        "isPaused": counts.is_paused,
        "rate": round(finished / span_seconds, 3),
        "avgDurationMs": round(minutes["sum_us"] / 1000 / runs, 2) if runs else None,
        "p50DurationMs": percentile(0.5),
        "p95DurationMs": percentile(0.95),
        "p99DurationMs": percentile(0.99),
        "runs": runs,
        "lastUpdatedAt": now_ms,
    }


class StatsPublisher:
    """Writes every queue's stats; the leader calls it every ten seconds."""

    def __init__(self, client: Client, topology: Topology) -> None:
        self._client = client
        self._topology = topology
        self._runner = ScriptRunner(client)

    def step(self) -> None:
        """The scheduler's duty."""
        self.publish()

    def publish(self) -> dict[str, dict[str, Any]]:
        """Write the stats of all queues, and announce them."""
        now_ms = int(time.time() * 1000)
        calls = [scripts.queue_counts(QueueKeys(name), heartbeat_ms=_HEARTBEAT_MS) for name in self._topology]
        published = {}
        for queue, counts in zip(self._topology, self._runner.run_many(calls), strict=True):
            if isinstance(counts, Exception):
                raise counts
            stats = queue_stats(counts, read_minutes(self._client, queue, now_ms, WINDOW_MINUTES), now_ms)
            self._client.set(keys.stats(queue), json.dumps(stats), px=_KEPT_SECONDS * 1000)
            published[queue] = stats
        event = {"v": 1, "type": "stats.updated", "atMs": now_ms, "queues": list(published)}
        self._client.execute_command("PUBLISH", EVENTS_CHANNEL, json.dumps(event))
        return published


def read_stats(client: Client, queue: str) -> dict[str, Any] | None:
    """What was published last, with `ageMs`; None when nobody publishes."""
    stored = client.get(keys.stats(queue))
    if stored is None:
        return None
    stats: dict[str, Any] = json.loads(stored)
    return stats | {"ageMs": int(time.time() * 1000) - stats["lastUpdatedAt"]}
