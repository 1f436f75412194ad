"""Worker processes that a test may kill."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.support import warm_python

ROOT = Path(__file__).parents[2]


class Workers:
    """`dramatiq` masters running tests.support.worker_app against one Redis and one effects database."""

    def __init__(self, redis_url: str, folder: Path, secret_key: str, *, lease_seconds: float = 0.6) -> None:
        self.folder = folder
        self.effects = folder / "effects.sqlite3"
        _create(self.effects)
        self._masters: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "TEKNAV_REDIS_URL": redis_url,
            "TEKNAV_DATA_DIR": str(folder),
            "TEKNAV_SECRET_KEY": secret_key,
            "TEKNAV_LEASE_SECONDS": str(lease_seconds),
            "TEST_EFFECTS": str(self.effects),
            "TEST_CRASH_FLAG": str(folder / "crashed"),
            "dramatiq_worker_timeout": "200",
            "dramatiq_restart_delay": "200",
        }

    def start(
        self, *, processes: int = 1, threads: int = 4, crash: str = "", **changes: str
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dramatiq", "tests.support.worker_app", "-p", str(processes)]
        # A worker that dies before it said that it booted is noticed only after this wait: 30 s unless told.
        command += ["-t", str(threads), "--skip-logging", "--worker-fork-timeout", "1000"]
        log = (self.folder / f"worker-{len(self._masters)}.log").open("wb")
        master = warm_python.Process(
            command, cwd=ROOT, env={**self._environment, "TEST_CRASH": crash, **changes}, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
        log.close()
        self._masters.append(master)
        return master

    def kill(self, master: subprocess.Popen[bytes]) -> None:
        """SIGKILL the master and all its workers at once."""
        if master.poll() is None:
            os.killpg(master.pid, signal.SIGKILL)
        master.wait()

    def stop_all(self) -> None:
        for master in self._masters:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(master.pid, signal.SIGKILL)
            master.wait()
        # A test that failed is reported with it.
        sys.stdout.write(self.logs())

    def happened(self) -> dict[str, int]:
        """job id -> how often its effect happened."""
        return dict(self._query("select job_id, count(*) from happened group by job_id"))

    def recorded(self) -> set[str]:
        return {row[0] for row in self._query("select job_id from effects")}

    def _query(self, sql: str) -> list[tuple[str, int]]:
        with contextlib.closing(sqlite3.connect(self.effects, timeout=30)) as connection:
            return connection.execute(sql).fetchall()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("worker-*.log")))


def _create(effects: Path) -> None:
    """Before anyone else opens it: of two who make a new file a WAL one at the same time, one fails at once."""
    with contextlib.closing(sqlite3.connect(effects)) as connection:
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table happened (job_id text, number int, pid int)")
        connection.execute("create table effects (job_id text primary key, summary text)")
