"""The API: requests per second of one process, and pages, filters and groups over very many jobs.

python -m benchmarks.api [dead letters] [waiting jobs]
"""

from __future__ import annotations

import multiprocessing
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx

from teknav_ops.access.policy import Operation
from teknav_ops.redis_state.connection import connect
from teknav_ops.topology import TOPOLOGY
from tests.support.dead_letters import bury, letter_cursor, line_up
from tests.support.folders import new_folder, remove_folder
from tests.support.redis_server import RedisServer
from tests.support.web import ROOT, api, served, settings_for

DLQ_QUEUE: Final = "webhooks:deliver"
WAITING_QUEUE: Final = "media:optimize"
#: On the server, as asked for.
PAGE_LIMIT_MS: Final = 300
READS_PER_SECOND: Final = 500
_READ_SECONDS: Final = 4.0

_CONNECTION_COUNT: Final = 8
_LETTERS: Final = f"/api/owner/queues/{DLQ_QUEUE}/dead-letters"
#: What each connection asks for, in turn. Those who ask the same at the same time share one reading of Redis.
_READS: Final = {
    "one queue, the same": [f"/api/owner/queues/{DLQ_QUEUE}"],
    "one queue, each another": [f"/api/owner/queues/{name}" for name in list(TOPOLOGY)[:_CONNECTION_COUNT]],
    "one job, each another": [
        f"/api/owner/queues/{DLQ_QUEUE}/jobs/dead-{number:07}" for number in range(_CONNECTION_COUNT)
    ],
    "fifty dead letters, the same": [_LETTERS],
    "fifty dead letters, each another page": [
        f"{_LETTERS}?sort=failed_at&cursor={letter_cursor(50 * page)}" for page in range(_CONNECTION_COUNT)
    ],
    "all queues, the same": ["/api/owner/queues"],
}


def pages(dead: int) -> dict[str, str]:
    """What is asked of a very full queue."""
    letters, jobs = _LETTERS, f"/api/owner/queues/{WAITING_QUEUE}/jobs"
    return {
        "dead letters: first page": letters,
        "dead letters: in the middle": f"{letters}?cursor={letter_cursor(dead // 2)}",
        "dead letters: last, oldest first": f"{letters}?sort=failed_at&cursor={letter_cursor(dead - 51)}",
        "dead letters: by error type": f"{letters}?error_type=HostUnreachable",
        "dead letters: by cause and type": f"{letters}?error_type=HostUnreachable&fingerprint=f02",
        "dead letters: within an hour": f"{letters}?since=2025-11-24T17:00:00Z&until=2025-11-24T18:00:00Z",
        "dead letters: text that many hold": f"{letters}?text=host",
        "dead letters: text that none holds": f"{letters}?text=nowhere%20to%20be%20found",
        "dead letters: groups": f"{letters}/groups",
        "waiting jobs: first page": jobs,
        "waiting jobs: behind all of priority 0": f"{jobs}?cursor={2**40}_x",
        "waiting jobs: by kind": f"{jobs}?name=optimize-image",
        "waiting jobs: text that none holds": f"{jobs}?text=nowhere",
    }


def measure_pages(client: httpx.Client, paths: dict[str, str], tries: int = 9) -> Iterator[tuple[str, float, Any]]:
    """The median time of each, ms, and what came of it."""
    for name, path in paths.items():
        times = []
        for _ in range(tries):
            begun = time.perf_counter()
            answer = client.get(path)
            times.append((time.perf_counter() - begun) * 1000)
            answer.raise_for_status()
        yield name, statistics.median(times), answer.json()


def _hammer(port: int, paths: list[str], token: str, seconds: float, answers: Any) -> None:
    """A client of little weight in a process of its own: the server is what is measured."""
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n"
    counts = [0] * _CONNECTION_COUNT
    end = time.perf_counter() + seconds

    def ask(index: int) -> None:
        request = f"GET {paths[index % len(paths)]} {head}".encode()
        with socket.create_connection(("127.0.0.1", port)) as connection:
            reader = connection.makefile("rb")
            while time.perf_counter() < end:
                connection.sendall(request)
                status, length = reader.readline(), 0
                assert b" 200 " in status, status
                while (line := reader.readline()) not in (b"\r\n", b""):
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                reader.read(length)
                counts[index] += 1

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(_CONNECTION_COUNT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put(sum(counts) / seconds)


def reads_per_second(port: int, paths: list[str], token: str, *, seconds: float) -> float:
    """How many reads one server process answers per second."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=_hammer, args=(port, paths, token, seconds, answers))
    process.start()
    rate = float(answers.get(timeout=seconds + 60))
    process.join()
    return rate


def main() -> None:
    """Fill a server, ask it, and say how it did."""
    dead = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    waiting = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    folder = new_folder()
    redis = RedisServer(folder, "--appendonly", "no").start()
    try:
        client = connect(redis.url)
        bury(client, DLQ_QUEUE, dead)
        line_up(client, WAITING_QUEUE, waiting, job="optimize-image")
        print(f"{dead:,} dead letters, {waiting:,} waiting jobs")
        with served(api(settings_for(Path(tempfile.mkdtemp()), redis.url))) as web:
            report(web, dead)
    finally:
        redis.stop()
        remove_folder(folder)


def report(web: Any, dead: int) -> None:
    """All measurements of one running server."""
    token = web.token(Operation.READ, Operation.ACT)
    client = web.with_token(token)
    for name, ms, answer in measure_pages(client, pages(dead)):
        verdict = "ok" if ms <= PAGE_LIMIT_MS else "TOO SLOW"
        found = f"{len(answer['items'])} items, next {answer.get('next_cursor')}"
        print(f"{ms:8.1f} ms  {verdict:8}  {name}: {found}")
    for name, paths in _READS.items():
        begun = time.process_time()
        rate = reads_per_second(web.port, paths, token, seconds=_READ_SECONDS)
        # What it costs this process says how it would do on a core of its own; the rate, how it does here.
        cost_ms = (time.process_time() - begun) * 1000 / (rate * _READ_SECONDS)
        verdict = "ok" if rate >= READS_PER_SECOND else "TOO SLOW"
        print(f"{rate:8.0f} /s  {verdict:8}  {name}: {cost_ms:.2f} ms of CPU each")
    begun = time.perf_counter()
    deleted = web.services.control(ROOT).purge(DLQ_QUEUE, confirmation=DLQ_QUEUE)
    print(f"{time.perf_counter() - begun:8.1f} s             purge of {deleted:,} dead letters")


if __name__ == "__main__":
    main()
