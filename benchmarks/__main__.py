"""`make bench`: prints one table per question; rounds are interleaved, medians and ratios reported."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

import redis

from benchmarks import audit_writer, recording, stats_publish
from benchmarks.systems import BULLMQ, CELERY, HERE, OURS, RQ, STOCK, System, rate, working
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer

ROUNDS = 3


def has_bullmq() -> bool:
    """Install BullMQ beside its script where node and npm are present."""
    if not (shutil.which("node") and shutil.which("npm")):
        return False
    if not (HERE / "node_modules" / "bullmq").exists():
        command = ["npm", "install", "--silent", "--no-save", "--no-package-lock", "bullmq", "ioredis"]
        return subprocess.run(command, cwd=HERE, check=False).returncode == 0
    return True


def throughput(url: str, systems: list[tuple[System, int]]) -> None:
    """Everything recorded, no-op jobs."""
    found: dict[tuple[str, int], list[dict[str, float]]] = {}
    for number in range(ROUNDS):
        for system, processes in systems:
            print(f"round {number + 1} of {ROUNDS}: {system.name}, {processes} process(es)", file=sys.stderr)
            found.setdefault((system.name, processes), []).append(rate(system, url, processes=processes))
    medians = {key: statistics.median(run["jobs_per_second"] for run in runs) for key, runs in found.items()}
    ours = {processes: value for (name, processes), value in medians.items() if name == OURS.name}
    print("\n| system | processes | jobs/s | ours is × | Redis CPU µs/job |\n| --- | --: | --: | --: | --: |")
    for (name, processes), runs in found.items():
        cpu = statistics.median(run["redis_cpu_us_per_job"] for run in runs)
        median = medians[name, processes]
        print(f"| {name} | {processes} | {median:,.0f} | {ours[processes] / median:.2f} | {cpu:.0f} |")


def latency(url: str, systems: list[System]) -> None:
    """From enqueue to the first line of the job, on an idle worker."""
    print("\n| idle pick-up | p50 ms | p95 ms |\n| --- | --: | --: |")
    for system in systems:
        client = redis.Redis.from_url(url)
        client.flushall()
        with working(system, url, 1):
            time.sleep(4)
            _send_slowly(system, url, 120)
            time.sleep(1)
        seconds = sorted(float(value) for value in client.lrange("latency", 20, -1))
        p50, p95 = (seconds[int(len(seconds) * q)] * 1e3 for q in (0.5, 0.95))
        print(f"| {system.name} | {p50:.1f} | {p95:.1f} |")


def _send_slowly(system: System, url: str, count: int) -> None:
    if system is BULLMQ:
        command = ["node", str(HERE / "bullmq.mjs"), "latency", str(count)]
        subprocess.run(command, env={**os.environ, "BENCH_REDIS_URL": url}, check=True, cwd=HERE)
        return
    producer = Producer(connect(url), cipher=Cipher([]), topology=_topology())
    for number in range(count):
        if system is OURS:
            producer.enqueue("bench:noop", "noop", {"sent_at": time.time()})
        else:
            os.environ["BENCH_REDIS_URL"] = url
            from benchmarks.stock import noop

            noop.send(number, time.time())
        time.sleep(0.025)


def _topology():  # type: ignore[no-untyped-def]
    from benchmarks.orders import TOPOLOGY

    return TOPOLOGY


def backlog(url: str) -> None:
    """Does a deep queue slow a worker down?"""
    pairs = [
        (rate(OURS, url)["jobs_per_second"], rate(OURS, url, backlog=100_000)["jobs_per_second"]) for _ in range(ROUNDS)
    ]
    ratio = statistics.median(deep / shallow for shallow, deep in pairs)
    print(f"\nWith 100,000 jobs waiting behind them, jobs are finished at {ratio:.2f} × the rate without.")


def enqueueing(url: str) -> None:
    """One by one, and a thousand per round trip."""
    client = redis.Redis.from_url(url)
    client.flushall()
    producer = Producer(connect(url), cipher=Cipher([]), topology=_topology())
    begun = time.perf_counter()
    for number in range(3_000):
        producer.enqueue("bench:noop", "noop", {"number": number})
    single = 3_000 / (time.perf_counter() - begun)
    begun = time.perf_counter()
    producer.enqueue_many("bench:noop", "noop", ({"number": number} for number in range(30_000)))
    many = 30_000 / (time.perf_counter() - begun)
    print(f"\nenqueue_many accepts {many / single:.1f} × as many jobs per second as enqueue.")


def memory(url: str, systems: list[System]) -> None:
    """Redis memory of the records of finished jobs that are kept."""
    client = redis.Redis.from_url(url)
    print("\n| records of 1,000 kept jobs | bytes per job |\n| --- | --: |")
    for system in systems:
        client.flushall()
        system.fill(url, 1_000)
        with working(system, url, 1):
            while system.remaining(client):
                time.sleep(0.05)
            time.sleep(0.5)
        pattern = "teknav:{bench:noop}:job:*" if system is OURS else "bull:noop:[0-9]*"
        sizes = [client.memory_usage(key) for key in client.scan_iter(pattern, count=1_000)]
        print(f"| {system.name} | {statistics.mean(sizes):,.0f} |")


def main() -> None:
    """Run all on one private server."""
    folder = new_folder()
    server = RedisServer(folder, "--appendonly", "no", "--hash-max-listpack-value", "1024").start()
    url = os.environ["BENCH_REDIS_URL"] = server.url
    peers = [STOCK, CELERY, RQ] + ([BULLMQ] if has_bullmq() else [])
    pairs = [(system, 1) for system in [OURS, *peers]]
    if BULLMQ in peers:
        pairs += [(OURS, 2), (BULLMQ, 2)]
    try:
        throughput(url, pairs)
        latency(url, [system for system in (OURS, STOCK, BULLMQ) if system is OURS or system in peers])
        backlog(url)
        enqueueing(url)
        recording.report(url, rounds=ROUNDS)
        stats_publish.report(url)
        audit_writer.report(url)
        memory(url, [system for system in (OURS, BULLMQ) if system is OURS or system in peers])
    finally:
        server.stop()
        remove_folder(Path(folder))


if __name__ == "__main__":
    main()
