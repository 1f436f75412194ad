"""The whole product on a private server: web, scheduler and workers as processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from teknav_ops.access.policy import Role
from teknav_ops.api.services import Services
from tests.support import warm_python
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.waiting import until
from tests.support.web import PASSWORD, ROOT, settings_for

TREE = Path(__file__).parents[2]
SESSION_COOKIE = "teknav_session"


class System:
    """Starts what a test asks for; `close` ends it all."""

    def __init__(self, folder: Path, redis: RedisServer, secret_key: str, **settings: Any) -> None:
        self.folder = folder
        self.redis = redis
        self.settings = settings_for(folder, redis.url, secret_key=secret_key, **settings)
        self.services = Services(self.settings)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            **os.environ, "TEKNAV_REDIS_URL": redis.url, "TEKNAV_DATA_DIR": str(folder),
            "TEKNAV_SECRET_KEY": secret_key, "PYTHONPATH": str(TREE), "TEKNAV_VIEWERS_ALLOWED": "true",
            **{f"TEKNAV_{name.upper()}": str(value) for name, value in settings.items()},
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def add_user(self, name: str, role: Role = Role.OWNER) -> None:
        self.services.entrance.users.add(ROOT, name, role, PASSWORD)

    def sign_in(self, name: str, role: Role = Role.OWNER) -> dict[str, str]:
        """The cookies of a browser that has signed in, by its name; no password is asked for or hashed."""
        opened = self.services.entrance.sessions.open(name, role, user_id=None, epoch=0)
        return {SESSION_COOKIE: opened.cookie}

    def start_web(self) -> None:
        command = ["-m", "uvicorn", "dashboards.app:create_app", "--factory", "--port", str(self.port)]
        self._start("web", [*command, "--log-level", "warning", "--timeout-graceful-shutdown", "2"])
        until(self._answers, seconds=60, what="the web server's start")

    def _answers(self) -> bool:
        assert self._processes["web"].poll() is None, self.log("web")
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200
        return False

    def start_scheduler(self) -> None:
        self._start("scheduler", ["-m", "teknav_ops.runtime.scheduler"])

    def start_workers(self, *queues: str) -> None:
        """One process for these queues, or for all."""
        only = ["--queues", *queues] if queues else []
        self._start("workers", ["-m", "dramatiq", "workers:broker", "-p", "1", "-t", "4", *only])

    def _start(self, name: str, arguments: list[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = warm_python.Process(
                [sys.executable, *arguments], cwd=TREE, env=self.environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for name in list(self._processes):
            self.kill(name)
        self.services.close()
