"""Where runs are made before they are published: one locked folder each, and no more at once than there are cores.

A lock goes with its process, however that ends; a folder whose lock is free is a leftover.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import structlog

from teknav_ops.durable_files import sync_folder, try_lock
from teknav_ops.errors import TekNavError
from teknav_ops.reports.runs import Order, Tick, silent
from teknav_ops.reports.store import WORKROOM

log = structlog.get_logger("teknav.reports")

ORDER: Final = "order.json"
#: Below a run's folder: what its process makes for itself. It is not published.
TEMPORARY: Final = ".temporary"
#: There, the notebook as it is executed, before its outputs are masked.
EXECUTED: Final = "executed.ipynb"
_LOCK: Final = ".lock"
_POLL_SECONDS: Final = 0.1
#: A folder that is about to get its name, or trash about to be gone, is older than this only if its process died.
_DRAFT_SECONDS: Final = 600.0


class ReportsBusy(TekNavError):
    """As many reports as this machine has cores were running all the while. Nothing was run; try again later."""


class Workroom:
    """Folders and locks below `.run`."""

    def __init__(self, root: Path, *, slot_count: int | None = None) -> None:
        self.root = root
        self.path = root / WORKROOM
        self.slot_count = slot_count or os.cpu_count() or 1

    @contextlib.contextmanager
    def slot(
        self, wait_seconds: float, is_over: Callable[[], bool] = lambda: False, tick: Tick = silent
    ) -> Iterator[None]:  # fmt: skip
        """Be one of those that run. Raises ReportsBusy."""
        self._prepare()
        deadline = time.monotonic() + wait_seconds
        while True:
            for number in range(self.slot_count):
                descriptor = _open(self.path / f"slot-{number}")
                if try_lock(descriptor):
                    try:
                        yield
                    finally:
                        os.close(descriptor)
                    return
                os.close(descriptor)
            if is_over() or time.monotonic() >= deadline:
                raise ReportsBusy(f"{self.slot_count} reports were running for {wait_seconds:.0f} s; nothing was run")
            tick(f"waits: {self.slot_count} reports run on this machine")
            time.sleep(_POLL_SECONDS)

    @contextlib.contextmanager
    def folder(self, order: Order) -> Iterator[Path]:
        """A folder for this run, with its order in it; locked until it is published or the block ends."""
        self._prepare()
        draft = self.path / f".draft-{secrets.token_hex(6)}"
        draft.mkdir(mode=0o700)
        descriptor = _open(draft / _LOCK)
        try:
            try_lock(descriptor)
            (draft / ORDER).write_text(order.model_dump_json(), "utf-8")
            folder = self.path / f"{order.name}-{order.run}"
            draft.rename(folder)
            yield folder
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def leftovers(self) -> Iterator[list[Path]]:
        """Folders of runs whose process has died, locked for whoever clears them away."""
        self._remove_drafts()
        with contextlib.ExitStack() as stack:
            yield [folder for folder in self._runs() if _lock_in(stack, folder)]

    def publish(self, folder: Path, name: str, run: str) -> Path:
        """Move a run to where it is read: there at once and whole."""
        (folder / ORDER).unlink(missing_ok=True)
        shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
        for path in folder.glob(".*"):
            # A file that was being written when its process was killed.
            if path.name != _LOCK and path.is_file():
                path.unlink()
        target = self.root / name / run
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder)
        folder.rename(target)
        sync_folder(target.parent)
        (target / _LOCK).unlink(missing_ok=True)
        return target

    @contextlib.contextmanager
    def index_lock(self) -> Iterator[None]:
        """One at a time: whoever writes the index last has read everything."""
        self._prepare()
        descriptor = _open(self.path / "index")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _prepare(self) -> None:
        # Reports may hold error texts: nobody else may look in.
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.mkdir(mode=0o700, exist_ok=True)

    def _runs(self) -> list[Path]:
        if not self.path.is_dir():
            return []
        return sorted(path for path in self.path.iterdir() if path.is_dir() and not path.name.startswith("."))

    def _remove_drafts(self) -> None:
        for path in [*self.path.glob(".draft-*"), *self.path.glob(".trash-*")]:
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _DRAFT_SECONDS:
                    shutil.rmtree(path)


def order_in(folder: Path) -> Order | None:
    """The order of a run; None where it is not (or no more) there."""
    with contextlib.suppress(OSError, ValueError):
        return Order.model_validate_json((folder / ORDER).read_bytes())
    return None


def _lock_in(stack: contextlib.ExitStack, folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        return False
    except OSError as error:
        # Another user's, perhaps. It must not keep anybody's report from being run.
        log.warning("report.not_cleared", path=str(folder), error=str(error))
        return False
    stack.callback(os.close, descriptor)
    # Between listing and locking it may have been published.
    return try_lock(descriptor) and folder.is_dir()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
