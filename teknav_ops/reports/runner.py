"""Runs one report in one child process, under a time limit, and publishes what came of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil
import structlog

from teknav_ops.durable_files import write_whole
from teknav_ops.payloads.patterns import mask_addresses
from teknav_ops.payloads.redaction import redact_end
from teknav_ops.reports.page import page
from teknav_ops.reports.runs import Order, RunMeta, Status, Tick, silent
from teknav_ops.reports.store import LOG, META, PAGE
from teknav_ops.reports.workroom import Workroom, order_in

log = structlog.get_logger("teknav.reports")

_POLL_SECONDS: Final = 0.2
#: A page is made of what is there: this is for a machine that is very busy.
_PAGE_SECONDS: Final = 120.0
_TAIL_BYTES: Final = 1_000
#: Of a longer log, half as much is published.
_LOG_BYTES: Final = 400_000
_CHILD: Final = "teknav_ops.reports.child"


class Runner:
    """Executes orders. `is_over` ends a run that is under way."""

    def __init__(
        self, room: Workroom, *, wall_seconds: float, data_dir: Path, is_over: Callable[[], bool] = lambda: False,
        tick: Tick = silent,
    ) -> None:  # fmt: skip
        self._room = room
        self._wall_seconds = wall_seconds
        self._data_dir = data_dir
        self._is_over = is_over
        self._tick = tick

    def execute(self, order: Order) -> RunMeta:
        """Run and publish; whatever happens to the notebook is in the answer. Raises OSError where nothing can be
        written.
        """
        with self._room.folder(order) as folder:
            ended = self._run(order, folder)
            meta = _told(folder)
            if ended is not None or meta is None:
                status, error = ended or ("failed", _tail(folder))
                meta = RunMeta.of(order).ended(status, error=error)
                self.describe(folder, meta)
            elif not (folder / PAGE).is_file():
                self.describe(folder, meta)
            self._publish(folder, meta)
        return meta

    def clear_leftovers(self) -> list[RunMeta]:
        """Publish, as killed, the runs whose runner has died. One that cannot be published stays where it is."""
        cleared = []
        with self._room.leftovers() as folders:
            for folder in folders:
                try:
                    meta = self._clear(folder)
                except OSError as error:
                    log.warning("report.not_cleared", path=str(folder), error=str(error))
                    continue
                if meta is not None:
                    cleared.append(meta)
                    log.warning("report.cleared", report=meta.name, run=meta.run)
        return cleared

    def _clear(self, folder: Path) -> RunMeta | None:
        """Publish what a runner left; None where nobody can say what it was."""
        order, meta = order_in(folder), _told(folder)
        is_told = meta is not None
        if meta is None and order is not None:
            meta = RunMeta.of(order).ended("killed", error="the process that ran this report died")
        if meta is None:
            return None
        if not is_told or not (folder / PAGE).is_file():
            self.describe(folder, meta)
        self._publish(folder, meta)
        return meta

    def _publish(self, folder: Path, meta: RunMeta) -> None:
        _mask_log(folder / LOG)
        self._room.publish(folder, meta.name, meta.run)

    def describe(self, folder: Path, meta: RunMeta) -> None:
        """Write what is known of a run that did not describe itself, and a page of what it left."""
        write_whole(folder / META, meta.model_dump_json(indent=1))
        with contextlib.suppress(subprocess.TimeoutExpired), (folder / LOG).open("ab") as output:
            subprocess.run(
                [sys.executable, "-m", _CHILD, "page", str(folder)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=self._environment(None), timeout=_PAGE_SECONDS, check=False,
            )  # fmt: skip
        if not (folder / PAGE).is_file():
            write_whole(folder / PAGE, page(meta, "", [], None))

    def _run(self, order: Order, folder: Path) -> tuple[Status, str] | None:
        """How the child had to be ended, or ended; None when it went by itself."""
        with (folder / LOG).open("ab") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", _CHILD, "run", str(folder)], stdin=subprocess.DEVNULL, stdout=output,
                stderr=output, env=self._environment(order), start_new_session=True,
            )  # fmt: skip
        try:
            ended = self._watch(child)
        except BaseException:
            _end(child)
            raise
        if ended is None and child.returncode < 0:
            name = signal.Signals(-child.returncode).name
            return "killed", f"the report's process was killed ({name}): was there enough memory?"
        return ended

    def _watch(self, child: subprocess.Popen[bytes]) -> tuple[Status, str] | None:
        deadline = time.monotonic() + self._wall_seconds
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_SECONDS)
                return None
            self._tick("runs")
            if self._is_over():
                _end(child)
                return "killed", "the scheduler was told to end"
            if time.monotonic() > deadline:
                _end(child)
                return "timeout", f"it took longer than {self._wall_seconds:,.0f} s (TEKNAV_REPORT_SECONDS)"

    def _environment(self, order: Order | None) -> dict[str, str]:
        """This process's, so that the notebook reaches the same system; in it nobody watches, and nothing is replayed
        unless the order says so.
        """
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TEKNAV_REPORT_")}
        return inherited | {
            "JUPYTER_PREFER_ENV_PATH": "1",
            "PLOTLY_RENDERER": "plotly_mimetype",
            "PYTHONUNBUFFERED": "1",
            "TEKNAV_DATA_DIR": str(self._data_dir.absolute()),
            "TEKNAV_REPORT_RUN": "1",
            **({"TEKNAV_OPERATOR": order.who} if order is not None else {}),
            **({"TEKNAV_REPORT_ALLOW_REPLAY": "1"} if order is not None and order.allow_replay else {}),
        }


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and its kernel, which has a session of its own."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(child.pid).children(recursive=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=5)
    child.wait()


def _told(folder: Path) -> RunMeta | None:
    with contextlib.suppress(OSError, ValueError):
        return RunMeta.model_validate_json((folder / META).read_bytes())
    return None


def _mask_log(path: Path) -> None:
    """The log holds what a cell's own programs wrote past the kernel, as it is and as much as it is: of more than is
    kept, the end.
    """
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        is_cut = file.seek(0, os.SEEK_END) > _LOG_BYTES
        file.seek(-_LOG_BYTES if is_cut else 0, os.SEEK_END if is_cut else os.SEEK_SET)
        text = file.read().decode(errors="replace")
        # Of a secret that was cut in two, the second part stands in the half that goes.
        kept = redact_end(text, len(text) // 2 if is_cut else len(text))
        write_whole(path, ("(what came before was left out)\n" if is_cut else "") + mask_addresses(kept))


def _tail(folder: Path) -> str:
    """The end of the log, for a child that could not even say what was wrong."""
    with contextlib.suppress(OSError):
        lines = (folder / LOG).read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
        return f"the report's process failed: {lines[-1]}" if lines else "the report's process failed"
    return "the report's process failed"
