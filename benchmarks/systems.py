"""The systems compared: how each is filled, worked, and watched from outside through Redis."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

HERE = Path(__file__).parent
DRAMATIQ = [sys.executable, "-m", "dramatiq", "--skip-logging"]


@dataclass(frozen=True)
class System:
    """`remaining` counts jobs that are not finished; `job_count` suits the system's speed."""

    name: str
    job_count: int
    fill: Callable[[str, int], None]
    commands: Callable[[int], list[list[str]]]
    remaining: Callable[[redis.Redis], int]


def fill_ours(url: str, count: int) -> None:
    """Enqueue through our producer, a thousand per round trip."""
    from benchmarks.orders import TOPOLOGY
    from teknav_ops.payloads.codec import Cipher
    from teknav_ops.producer import Producer
    from teknav_ops.redis_state.connection import connect

    producer = Producer(connect(url), cipher=Cipher([]), topology=TOPOLOGY)
    producer.enqueue_many("bench:noop", "noop", ({"number": n} for n in range(count)))


def fill_stock(url: str, count: int) -> None:
    """Dramatiq has no bulk enqueue."""
    os.environ["BENCH_REDIS_URL"] = url
    from benchmarks.stock import noop

    for number in range(count):
        noop.send(number)


def fill_celery(url: str, count: int) -> None:
    """Celery has no bulk enqueue."""
    os.environ["BENCH_REDIS_URL"] = url
    from benchmarks.celery_app import app, noop

    app.conf.broker_url = url
    for number in range(count):
        noop.delay(number)


def fill_rq(url: str, count: int) -> None:
    """RQ's bulk enqueue."""
    from rq import Queue

    from benchmarks.rq_jobs import noop

    queue = Queue("noop", connection=redis.Redis.from_url(url))
    queue.enqueue_many([Queue.prepare_data(noop, (number,)) for number in range(count)])


def fill_bullmq(url: str, count: int) -> None:
    """BullMQ's bulk enqueue."""
    command = ["node", str(HERE / "bullmq.mjs"), "enqueue", str(count)]
    subprocess.run(command, env={**os.environ, "BENCH_REDIS_URL": url}, check=True, cwd=HERE)


def _unacked(client: redis.Redis) -> int:
    return int(client.llen("celery")) + int(client.hlen("unacked"))


OURS = System(
    "TekNav ops", 30_000, fill_ours,
    lambda processes: [[*DRAMATIQ, "benchmarks.ours", "-p", str(processes), "-t", "8"]],
    lambda c: int(c.llen("teknav:{bench:noop}:waiting")) + int(c.zcard("teknav:{bench:noop}:active")),
)  # fmt: skip
STOCK = System(
    "Dramatiq", 6_000, fill_stock,
    lambda processes: [[*DRAMATIQ, "benchmarks.stock", "-p", str(processes), "-t", "8"]],
    lambda c: int(c.hlen("dramatiq:noop.msgs")),
)  # fmt: skip
CELERY = System(
    "Celery", 3_000, fill_celery,
    lambda processes: [[sys.executable, "-m", "celery", "-A", "benchmarks.celery_app", "worker", "-P", "threads",
                        "-c", "8", "--without-gossip", "--without-mingle", "-l", "CRITICAL"]] * processes,
    _unacked,
)  # fmt: skip
RQ = System(
    "RQ", 400, fill_rq,
    lambda processes: [[str(Path(sys.executable).parent / "rq"), "worker", "noop", "--quiet", "--url",
                        os.environ["BENCH_REDIS_URL"]]] * processes,
    lambda c: int(c.llen("rq:queue:noop")),
)  # fmt: skip
BULLMQ = System(
    "BullMQ", 20_000, fill_bullmq,
    lambda processes: [["node", str(HERE / "bullmq.mjs"), "work"]] * processes,
    lambda c: int(c.llen("bull:noop:wait")) + int(c.llen("bull:noop:active")),
)  # fmt: skip


@contextmanager
def working(system: System, url: str, processes: int) -> Iterator[None]:
    """The system's workers, running; killed afterwards."""
    environment = {**os.environ, "BENCH_REDIS_URL": url, "TEKNAV_DATA_DIR": "/tmp/teknav-bench"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True, "cwd": HERE.parent}
    running = [subprocess.Popen(command, env=environment, **quiet) for command in system.commands(processes)]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def rate(system: System, url: str, *, processes: int = 1, backlog: int = 0) -> dict[str, float]:
    """Jobs per second between the first and the last tenth, and the server's CPU time per job."""
    client = redis.Redis.from_url(url)
    client.flushall()
    system.fill(url, system.job_count + backlog)
    start, end = 0.9 * system.job_count + backlog, backlog + (0.1 * system.job_count if backlog else 0)
    with working(system, url, processes):
        _wait(lambda: system.remaining(client) <= start)
        begun, cpu, left = time.perf_counter(), _cpu_seconds(client), system.remaining(client)
        _wait(lambda: system.remaining(client) <= end)
        seconds, done = time.perf_counter() - begun, left - system.remaining(client)
        spent = _cpu_seconds(client) - cpu
    return {"jobs_per_second": done / seconds, "redis_cpu_us_per_job": spent / done * 1e6}


def _cpu_seconds(client: redis.Redis) -> float:
    facts = client.info("cpu")
    return float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"])


def _wait(condition: Callable[[], bool], seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the benchmark did not come to its end")
        time.sleep(0.01)
