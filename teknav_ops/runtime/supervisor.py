"""The supervisor behind `teknav up`: starts everything in order, watches it, stops it in reverse."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from rich.console import Console

from teknav_ops.access.entrance import Entrance
from teknav_ops.audit.operator_log import OperatorLog
from teknav_ops.durable_files import try_lock
from teknav_ops.errors import RedisUnavailable, WrongState
from teknav_ops.jobs.queries import JobQueries
from teknav_ops.private_files import private_folder
from teknav_ops.producer import Producer
from teknav_ops.redis_state import keys
from teknav_ops.redis_state.connection import Client, connect
from teknav_ops.runtime.demo.content import DemoContent, find, prepare
from teknav_ops.runtime.demo.load import run_load
from teknav_ops.runtime.demo.orders import Orders, enqueue_first
from teknav_ops.runtime.demo.settings import demo_settings
from teknav_ops.runtime.demo.shapes import Shape
from teknav_ops.runtime.embedded import EmbeddedServer
from teknav_ops.runtime.exports import local_metrics_address
from teknav_ops.runtime.processes import Child, stop_in_order
from teknav_ops.runtime.status_board import StatusBoard
from teknav_ops.runtime.web import first_owner_url, free_address, has_web
from teknav_ops.settings import Settings
from teknav_ops.storage.database import Database
from teknav_ops.storage.schema import upgrade
from teknav_ops.topology import TOPOLOGY

_STARTING_MS: Final = 60_000
_DEMO_JOBS_PER_SECOND: Final = 1.0


class Supervisor:
    """`run` returns when it has been stopped and everything has ended."""

    def __init__(self, settings: Settings, *, processes: int, threads: int, demo: bool) -> None:
        self._settings = settings
        self._demo = demo
        self._console = Console()
        self._stopped = threading.Event()
        self._worker_count = processes
        self._worker_options = ["-p", "1", "-t", str(threads)]

    def run(self) -> int:
        """Start, keep running until SIGINT or SIGTERM, stop. Answers the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda _number, _frame: self._stopped.set())
        with self._only_one():
            server = self._start_server()
            try:
                self._work(server)
            finally:
                if server:
                    server.stop()
        self._console.print("Stopped. Your data is in", str(self._settings.data_dir.absolute()))
        return 0

    @contextmanager
    def _only_one(self) -> Iterator[IO[str]]:
        private_folder(self._settings.data_dir)
        with (self._settings.data_dir / "up.lock").open("w") as lock:
            if not try_lock(lock.fileno()):
                raise WrongState(f"`teknav up` is running already in {self._settings.data_dir.absolute()}")
            yield lock

    def _start_server(self) -> EmbeddedServer | None:
        if self._settings.redis_url is not None:
            self._console.print("Redis       as set by TEKNAV_REDIS_URL")
            return None
        server = EmbeddedServer(self._settings)
        server.start()
        self._console.print("Valkey      embedded, on", str(server.socket))
        return server

    def _work(self, server: EmbeddedServer | None) -> None:
        redis_url = server.url if server else str(self._settings.redis_url)
        upgrade(self._settings.sql_url)
        self._console.print("Database    up to date")
        database = Database.open(self._settings.sql_url)
        client = connect(redis_url, timeout_seconds=self._settings.redis_timeout_seconds)
        # Until they are there, what asks for a scheduler or for workers is told that they come.
        client.set(keys.STARTING, "1", px=_STARTING_MS)
        ports = (free_port(), free_port()) if self._demo else None
        if ports:
            content = prepare(self._settings, database, client, receiver_port=ports[1])
        else:
            content = find(self._settings, database)
        articles, files = len(content.article_ids), len(content.file_ids)
        self._console.print(f"Content     {articles} articles, {files} photographs")
        children = [*self._web(client, database), *self._children(ports, self._metrics_address())]
        for child in children:
            child.keep_running()
        self._console.print(f"Workers     and scheduler started; logs in {self._log_folder}")
        producer = Producer.from_settings(self._settings, actor="demo")
        if self._demo:
            count = enqueue_first(producer, content)
            self._console.print(f"Jobs        {count} enqueued for the sample content")
        try:
            self._watch(children, producer, content, client, server)
        finally:
            self._console.print("Stopping: running jobs finish first …")
            # Workers end before the scheduler, which then moves the last of the audit trail.
            stop_in_order(children)
            client.close()
            database.dispose()

    @property
    def _log_folder(self) -> Path:
        folder = self._settings.data_dir.absolute() / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _web(self, client: Client, database: Database) -> list[Child]:
        """The web process; says where it is, and the first owner's way in while there is nobody."""
        if not has_web():
            self._console.print("Dashboard   needs the web extra: pip install teknav-ops[web]", markup=False)
            return []
        address = free_address(self._settings.web_address)
        url = self._settings.web_public_url or f"http://{address}"
        self._console.print(f"Dashboard   {url}", markup=False, soft_wrap=True)
        link = first_owner_url(Entrance(self._settings, client, OperatorLog(database)).links, url)
        if link is not None:
            self._console.print(f"First owner {link}", markup=False, soft_wrap=True)
        environment = {
            **os.environ,
            "TEKNAV_DATA_DIR": str(self._settings.data_dir.absolute()),
            "TEKNAV_WEB_ADDRESS": address,
        }
        command = [sys.executable, "-m", "teknav_ops.runtime.web"]
        return [Child("web", command, environment, self._log_folder / "web.log")]

    def _metrics_address(self) -> str | None:
        address = local_metrics_address(self._settings)
        if address:
            self._console.print(f"Metrics     http://{address}/metrics")
        return address

    def _children(self, ports: tuple[int, int] | None, metrics_address: str | None) -> list[Child]:
        environment = {**os.environ, "TEKNAV_DATA_DIR": str(self._settings.data_dir.absolute())}
        if metrics_address:
            environment["TEKNAV_METRICS_ADDRESS"] = metrics_address
        workers = [sys.executable, "-m", "dramatiq", "workers:broker", *self._worker_options]
        scheduler = [sys.executable, "-m", "teknav_ops.runtime.scheduler"]
        found = []
        if ports:
            environment |= demo_settings(self._settings, ports[0])
            outbox = self._settings.data_dir.absolute() / "outbox"
            receivers = [sys.executable, "-m", "teknav_ops.runtime.demo.receivers", *map(str, ports), str(outbox)]
            found.append(Child("receivers", receivers, environment, self._log_folder / "receivers.log"))
        return [
            *found,
            # A master for each: it ends all its workers when one dies, and waits until they have ended what they run.
            *(
                Child("workers", workers, environment, self._log_folder / "workers.log")
                for _ in range(self._worker_count)
            ),
            Child("scheduler", scheduler, environment, self._log_folder / "scheduler.log"),
        ]

    def _watch(
        self,
        children: list[Child],
        producer: Producer,
        content: DemoContent,
        client: Client,
        server: EmbeddedServer | None,
    ) -> None:
        board = StatusBoard(self._console, JobQueries(client, TOPOLOGY), client)
        if self._demo:
            threading.Thread(target=self._load, args=(producer, content), name="demo", daemon=True).start()
        with board:
            while not self._stopped.wait(0.5):
                ended = server.keep_running() if server else None
                if server and ended is not None:
                    self._console.print(f"Valkey ended (exit code {ended}); started again. Its log: {server.log}")
                for child in children:
                    child.keep_running()
                board.refresh()

    def _load(self, producer: Producer, content: DemoContent) -> None:
        """A light load until the end; an outage is waited out."""
        chance = random.Random()
        orders = Orders(content, chance)
        while not self._stopped.is_set():
            with contextlib.suppress(RedisUnavailable):
                run_load(
                    producer, orders, Shape.STEADY, rate_per_second=_DEMO_JOBS_PER_SECOND, seconds=float("inf"),
                    wait=self._stopped.wait, chance=chance,
                )  # fmt: skip


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
