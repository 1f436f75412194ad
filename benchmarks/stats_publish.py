"""What publishing the stats of twelve queues costs Redis, with deep queues and full minutes."""

from __future__ import annotations

import math
import random
import statistics
import time
from typing import Any, Final

import redis

from teknav_ops.jobs.sketch import bucket
from teknav_ops.metrics.live import WINDOW_MINUTES, StatsPublisher
from teknav_ops.redis_state import scripts
from teknav_ops.redis_state.connection import connect
from teknav_ops.redis_state.keys import QueueKeys
from teknav_ops.redis_state.scripts import NewJob, ScriptRunner
from teknav_ops.topology import TOPOLOGY

#: So much of Redis's time may one publication of all queues take.
LIMIT_MS: Final = 20.0
#: Priorities that jobs wait with: all of them, which is the most that the script has to look at.
_PRIORITIES: Final = range(-9, 10)


class _Leader:
    holder = "benchmark:1:0"
    term = 1


def fill(client: Any, queue: str, *, job_count: int) -> None:
    """A queue with jobs of every priority, dead workers, and minutes in which every job name has a wide sketch."""
    keys, runner = QueueKeys(queue), ScriptRunner(client)
    names = list(TOPOLOGY[queue].jobs)
    for first in range(0, job_count, 1_000):
        jobs = [
            NewJob(id=f"{queue}-{number}", name=names[0], payload="{}", priority=_PRIORITIES[number % len(_PRIORITIES)])
            for number in range(first, min(first + 1_000, job_count))
        ]
        runner.run(scripts.enqueue(keys, idempotency_ms=1, actor="benchmark", jobs=jobs))
    chance = random.Random(queue)
    this_minute = int(time.time()) // 60
    for minute in range(this_minute - WINDOW_MINUTES, this_minute + 2):
        counters = {"enqueued": 60_000}
        for name in names:
            buckets = {bucket(math.exp(chance.gauss(5, 1.5))) for _ in range(20_000)}
            counters |= {f"{name}|{field}": 100 for field in buckets}
            counters |= {f"{name}|{counter}": 30_000 for counter in ("completed", "failed", "retried", "waited_ms")}
            counters[f"{name}|sum_us"] = 10**12
        client.hset(keys.minute(minute), mapping=counters)


def measure(url: str, *, job_count: int = 20_000, publications: int = 30) -> dict[str, float]:
    """Per publication: the time that Redis spent in commands, its CPU time, round trips, and how long it took."""
    client: Any = connect(url)
    client.flushall()
    for queue in TOPOLOGY:
        fill(client, queue, job_count=job_count)
    publisher = StatsPublisher(client, TOPOLOGY, _Leader())
    assert len(publisher.publish()) == len(TOPOLOGY)
    watcher = redis.Redis.from_url(url)
    watcher.config_resetstat()
    cpu, reads = _cpu_ms(watcher), _reads(watcher)
    spans = []
    for _ in range(publications):
        begun = time.perf_counter()
        publisher.publish()
        spans.append((time.perf_counter() - begun) * 1e3)
    # Three of the reads are the watcher's own.
    return {
        "redis_cpu_ms": (_cpu_ms(watcher) - cpu) / publications,
        "command_ms": _command_ms(watcher) / publications,
        "round_trips": (_reads(watcher) - reads - 3) / publications,
        "took_ms": statistics.median(spans),
    }


def report(url: str, *, job_count: int = 20_000, publications: int = 30) -> None:
    """One sentence."""
    found = measure(url, job_count=job_count, publications=publications)
    verdict = "within" if max(found["command_ms"], found["redis_cpu_ms"]) <= LIMIT_MS else "OVER"
    print(
        f"\nPublishing the stats of {len(TOPOLOGY)} queues takes {found['command_ms']:.1f} ms of Redis's time in "
        f"commands ({found['redis_cpu_ms']:.1f} ms of its CPU, {found['round_trips']:.0f} round trips, "
        f"{found['took_ms']:.0f} ms in all), {verdict} {LIMIT_MS:.0f} ms."
    )


def _command_ms(client: Any) -> float:
    """What was sent to the server: a script's time holds that of the commands it calls."""
    sent = ("evalsha", "eval", "hgetall", "publish", "time", "get", "pttl")
    facts = client.info("commandstats")
    return sum(facts[f"cmdstat_{name}"]["usec"] for name in sent if f"cmdstat_{name}" in facts) / 1e3


def _cpu_ms(client: Any) -> float:
    facts = client.info("cpu")
    return (float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])) * 1e3


def _reads(client: Any) -> int:
    return int(client.info("stats")["total_reads_processed"])
