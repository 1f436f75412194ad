"""A web server that dies in the middle of a batch replay: the next one goes on where it stood."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support import warm_python
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.state import KEYS, QUEUE, State
from tests.support.waiting import until


def test_a_server_that_is_killed_leaves_the_rest_to_the_next(
    redis_server: RedisServer, state: State, tmp_path: Path
) -> None:
    dead = [state.dead() for _ in range(12)]
    with _Process(redis_server.url, tmp_path) as first, first.client() as client:
        plan = client.post(f"/api/owner/queues/{QUEUE}/replays", json={}).json()
        replay = f"/api/owner/replays/{plan['id']}"
        client.post(f"{replay}/start", json={"rate_per_second": 2})
        until(lambda: client.get(replay).json()["done_count"] >= 2)
    assert state.client.hget(KEYS.replay(plan["id"]), "state") == "running"
    # Its lease runs out; the test need not wait for it.
    state.client.hset(KEYS.replay(plan["id"]), mapping={"runner_until_ms": 1, "rate": 1_000})

    with _Process(redis_server.url, tmp_path) as second, second.client() as client:
        until(lambda: client.get(replay).json()["state"] == "finished")
        done = client.get(replay).json()

    assert (done["state"], done["done_count"], done["replayed_count"]) == ("finished", 12, 12)
    assert all(state.places(job_id) == ["waiting"] for job_id in dead)


class _Process:
    """A web server in a process of its own, to be killed."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self.port = free_port()
        environment = {"TEKNAV_REDIS_URL": redis_url, "TEKNAV_DATA_DIR": str(folder), "TEST_PORT": str(self.port)}
        self._process = warm_python.Process(
            [sys.executable, "-m", "tests.support.web_process"],
            env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self.token = self._process.stdout.readline().strip()

    def client(self) -> httpx.Client:
        url = f"http://127.0.0.1:{self.port}"

        def answers() -> bool:
            try:
                return httpx.get(f"{url}/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, what="the server's first answer")
        return httpx.Client(base_url=url, headers={"authorization": f"Bearer {self.token}"})

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
