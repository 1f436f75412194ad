"""`python -m benchmarks.idle [seconds]`: what an idle worker process of many queues costs, how soon it takes a job.

The worker is this module, too: `python -m dramatiq benchmarks.idle`.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import dramatiq
import psutil
import redis

from benchmarks.orders import Noop
from teknav_ops.engine.assembly import build_broker, register
from teknav_ops.engine.processor import JobContext, Processor
from teknav_ops.payloads.codec import Cipher
from teknav_ops.producer import Producer
from teknav_ops.redis_state.connection import connect
from teknav_ops.settings import Settings
from teknav_ops.topology import Queue, Topology
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer

HERE = Path(__file__).parent
QUEUES = int(os.environ.get("BENCH_QUEUES", "200"))
#: After the worker's first heartbeats.
SETTLED_SECONDS = 12.0
JOBS = 200
TOPOLOGY = Topology(
    *(Queue(name=f"bench:q{number}", purpose="One of many.", jobs={f"noop{number}": Noop}) for number in range(QUEUES))
)


def _say_when(job: Noop, ctx: JobContext[None]) -> None:
    broker.client.rpush("latency", str(time.time() - job.sent_at))  # type: ignore[attr-defined]


def _sample(process: psutil.Process, client: redis.Redis) -> tuple[float, int, float, float]:
    server, worker = client.info(), process.cpu_times()
    return (
        time.monotonic(),
        server["total_commands_processed"],
        worker.user + worker.system,
        server["used_cpu_user"] + server["used_cpu_sys"],
    )


def _pick_up(url: str, client: redis.Redis) -> list[float]:
    """Milliseconds from enqueue to the beginning of the job, each on another queue."""
    producer = Producer(connect(url), cipher=Cipher([]), topology=TOPOLOGY)
    for number in range(JOBS):
        producer.enqueue(f"bench:q{number % QUEUES}", f"noop{number % QUEUES}", {"sent_at": time.time()})
        time.sleep(0.025)
    deadline = time.monotonic() + 10
    while client.llen("latency") < JOBS and time.monotonic() < deadline:
        time.sleep(0.1)
    return sorted(float(text) * 1e3 for text in client.lrange("latency", 0, -1))


def report(url: str, seconds: float) -> None:
    """Print one line of a table."""
    environment = {**os.environ, "BENCH_REDIS_URL": url, "TEKNAV_DATA_DIR": "/tmp/teknav-bench"}
    command = [sys.executable, "-m", "dramatiq", "--skip-logging", "benchmarks.idle", "-p", "1", "-t", "8"]
    client = redis.Redis.from_url(url)
    master = subprocess.Popen(
        command, env=environment, cwd=HERE.parent, start_new_session=True, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while client.zcard(f"teknav:{{bench:q{QUEUES - 1}}}:workers") < 1:
            time.sleep(0.2)
        time.sleep(SETTLED_SECONDS)
        worker = max(psutil.Process(master.pid).children(), key=lambda child: child.num_threads())
        first = _sample(worker, client)
        time.sleep(seconds)
        passed, commands, used, served = (b - a for a, b in zip(first, _sample(worker, client), strict=True))
        connections = client.info("clients")["connected_clients"] - 1
        took = _pick_up(url, client)
    finally:
        os.killpg(master.pid, signal.SIGKILL)
        master.wait()
    print("| queues | connections | commands/s | server % of a core | worker % | pick-up p50, p95 ms |")
    print("| --: | --: | --: | --: | --: | --: |")
    print(
        f"| {QUEUES} | {connections} | {commands / passed:.1f} | {100 * served / passed:.2f} "
        f"| {100 * used / passed:.2f} | {statistics.median(took):.1f}, {took[int(0.95 * len(took))]:.1f} |"
    )


if __name__ == "__main__":
    folder = new_folder()
    own = RedisServer(folder, "--appendonly", "no").start()
    try:
        report(own.url, float(sys.argv[1]) if len(sys.argv) > 1 else 30.0)
    finally:
        own.stop()
        remove_folder(Path(folder))
else:
    broker = build_broker(Settings(), os.environ["BENCH_REDIS_URL"], topology=TOPOLOGY)
    register(broker, [Processor(f"noop{number}", Noop, _say_when) for number in range(QUEUES)], None)
    dramatiq.set_broker(broker)
